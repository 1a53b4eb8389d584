"""Collections of keyphrase vectors: the engine protocol, typed filters, and Qdrant embedded or as a server."""

from vectorstore.engine import (
    CollectionInfo,
    CollectionSpec,
    Engine,
    FieldType,
    Hit,
    Payload,
    PointBatch,
    Record,
    SearchParams,
    Vectors,
)
from vectorstore.filters import AnyOf, Condition, Equals, Filter, Range, keyphrase_filter

__all__ = [
    "AnyOf",
    "CollectionInfo",
    "CollectionSpec",
    "Condition",
    "Engine",
    "Equals",
    "FieldType",
    "Filter",
    "Hit",
    "Payload",
    "PointBatch",
    "Range",
    "Record",
    "SearchParams",
    "Vectors",
    "keyphrase_filter",
]
