"""The shapes of filters that serving uses, and recall against exact search under each."""

from keydistill.ingest.filters.recall import K, shares_found, spread
from keydistill.ingest.filters.shapes import SHAPES, Query, Shape, leaf_and_parent, parent_path

__all__ = [
    "SHAPES",
    "K",
    "Query",
    "Shape",
    "leaf_and_parent",
    "parent_path",
    "shares_found",
    "spread",
]
