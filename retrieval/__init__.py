"""The read path: the live collection and its student, asked together."""

from retrieval.answers import Answer, LiveStatus, ReadyQuery
from retrieval.bulk import BulkSummary, MatchCategory, item_filter, recommend_file
from retrieval.filter_shape import NO_FILTER, filter_shape
from retrieval.generation import Generation, QueryVector, Recommendation, StudentLoader
from retrieval.items import Item, read_items
from retrieval.live import LiveRetriever
from retrieval.retriever import Retriever, live_collection
from retrieval.tuned_search import SEARCH_KEY, TUNED_LIMIT, TunedSearch, TunedShape

__all__ = [
    "NO_FILTER",
    "SEARCH_KEY",
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
