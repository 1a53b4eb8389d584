"""Collections of keyphrase vectors: the engine protocol, typed filters, and Qdrant embedded or as a server."""

from keydistill.vectorstore.engine import (
    CollectionInfo,
    Engine,
    Hit,
    Lost,
    Payload,
    PointBatch,
    Record,
    SearchParams,
    Vectors,
)
from keydistill.vectorstore.factory import open_engine, search_params_of
from keydistill.vectorstore.filters import AnyOf, Condition, Equals, Filter, Range
from keydistill.vectorstore.metadata import CollectionMetadata, MetadataChanges
from keydistill.vectorstore.ownership import check_alias_owner
from keydistill.vectorstore.payload import (
    CATEGORY_IDS,
    INDEXED_FIELDS,
    SEARCH_VOLUME,
    SITE,
    PayloadField,
    keyphrase_filter,
    payload_indexes,
)
from keydistill.vectorstore.spec import QUANTIZED_BITS, CollectionSpec, FieldType, estimated_bytes

__all__ = [
    "CATEGORY_IDS",
    "INDEXED_FIELDS",
    "QUANTIZED_BITS",
    "SEARCH_VOLUME",
    "SITE",
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
    "Lost",
    "MetadataChanges",
    "Payload",
    "PayloadField",
    "PointBatch",
    "Range",
    "Record",
    "SearchParams",
    "Vectors",
    "check_alias_owner",
    "estimated_bytes",
    "keyphrase_filter",
    "open_engine",
    "payload_indexes",
    "search_params_of",
]
