"""The read path: the live collection and its student, asked together."""

from keydistill.retrieval.answers import Answer, LiveStatus, ReadyQuery
from keydistill.retrieval.batch import BatchRequest, BatchSummary, recommend_file
from keydistill.retrieval.filter_shapes import NO_FILTER, filter_shape
from keydistill.retrieval.generation import Generation, QueryVector, StudentLoader, student_loader
from keydistill.retrieval.item_filters import MatchCategory, item_filter
from keydistill.retrieval.items import Item, read_items
from keydistill.retrieval.lists import ListArguments, ListOptions, Reranker
from keydistill.retrieval.live import LiveRetriever
from keydistill.retrieval.recommendation import Explanation, Recommendation
from keydistill.retrieval.reranking import reranker_of
from keydistill.retrieval.retriever import Retriever, live_collection
from keydistill.retrieval.tuned_search import TUNED_LIMIT, TunedSearch, TunedShape

__all__ = [
    "NO_FILTER",
    "TUNED_LIMIT",
    "Answer",
    "BatchRequest",
    "BatchSummary",
    "Explanation",
    "Generation",
    "Item",
    "ListArguments",
    "ListOptions",
    "LiveRetriever",
    "LiveStatus",
    "MatchCategory",
    "QueryVector",
    "ReadyQuery",
    "Recommendation",
    "Reranker",
    "Retriever",
    "StudentLoader",
    "TunedSearch",
    "TunedShape",
    "filter_shape",
    "item_filter",
    "live_collection",
    "read_items",
    "recommend_file",
    "reranker_of",
    "student_loader",
]
