"""The read path: the live collection and its student, asked together."""

from keydistill.retrieval.answers import Answer, LiveStatus, ReadyQuery
from keydistill.retrieval.bulk import BulkSummary, MatchCategory, item_filter, recommend_file
from keydistill.retrieval.filter_shapes import NO_FILTER, filter_shape
from keydistill.retrieval.generation import Generation, QueryVector, Recommendation, StudentLoader
from keydistill.retrieval.items import Item, read_items
from keydistill.retrieval.live import LiveRetriever
from keydistill.retrieval.retriever import Retriever, live_collection
from keydistill.retrieval.tuned_search import TUNED_LIMIT, TunedSearch, TunedShape

__all__ = [
    "NO_FILTER",
    "TUNED_LIMIT",
    "Answer",
    "BulkSummary",
    "Generation",
    "Item",
    "LiveRetriever",
    "LiveStatus",
    "MatchCategory",
    "QueryVector",
    "ReadyQuery",
    "Recommendation",
    "Retriever",
    "StudentLoader",
    "TunedSearch",
    "TunedShape",
    "filter_shape",
    "item_filter",
    "live_collection",
    "read_items",
    "recommend_file",
]
