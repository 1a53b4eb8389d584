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
from keydistill.vectorstore.metadata import CollectionMetadata, MetadataChanges

__all__ = [
    "AnyOf",
    "CollectionInfo",
    "CollectionMetadata",
    "CollectionSpec",
    "Condition",
    "Engine",
    "Equals",
    "FieldType",
    "Filter",
    "Hit",
    "MetadataChanges",
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
