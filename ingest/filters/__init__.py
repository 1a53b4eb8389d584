"""The shapes of filters that serving uses, and recall against exact search under each."""

from keydistill.ingest.filters.exact import ExactSearch, by_filter
from keydistill.ingest.filters.matching import holds, passes
from keydistill.ingest.filters.recall import K, recalls, spread
from keydistill.ingest.filters.shapes import SHAPES, FilterShape, Query, leaf_and_parent, parent_path

__all__ = [
    "SHAPES",
    "ExactSearch",
    "FilterShape",
    "K",
    "Query",
    "by_filter",
    "holds",
    "leaf_and_parent",
    "parent_path",
    "passes",
    "recalls",
    "spread",
]
