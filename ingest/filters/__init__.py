"""The shapes of filters that serving uses, and recall against exact search under each."""

from keydistill.ingest.filters.recall import K, recalls, spread
from keydistill.ingest.filters.shapes import SHAPES, FilterShape, Query, leaf_and_parent, parent_path

__all__ = [
    "SHAPES",
    "FilterShape",
    "K",
    "Query",
    "leaf_and_parent",
    "parent_path",
    "recalls",
    "spread",
]
