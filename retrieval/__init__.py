"""The read path: the live collection and its student, asked together."""

from retrieval.bulk import BulkSummary, MatchCategory, item_filter, recommend_file
from retrieval.items import Item, read_items
from retrieval.retriever import Recommendation, Retriever, live_collection

__all__ = [
    "BulkSummary",
    "Item",
    "MatchCategory",
    "Recommendation",
    "Retriever",
    "item_filter",
    "live_collection",
    "read_items",
    "recommend_file",
]
