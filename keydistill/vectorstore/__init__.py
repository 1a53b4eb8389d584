"""Collections of keyphrase vectors: the engine protocol, typed filters, and Qdrant embedded or as a server."""

from keydistill.vectorstore.engine import (
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
from keydistill.vectorstore.factory import open_engine, search_params_of
from keydistill.vectorstore.filters import AnyOf, Condition, Equals, Filter, Range, keyphrase_filter

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
    "open_engine",
    "search_params_of",
]
