"""The filters that items ask with."""

from typing import Literal

from keydistill.retrieval.items import Item
from keydistill.tables import PATH_SEPARATOR
from keydistill.vectorstore import Filter, keyphrase_filter

MatchCategory = Literal["none", "leaf", "parent"]


def item_filter(item: Item, *, match_category: MatchCategory = "none", min_search_volume: int | None = None) -> Filter:
    """The filter for one item: its site, and its category or that one's parent, where it has them."""
    category = item.category if match_category != "none" else None
    if category is not None and match_category == "parent":
        category = category.rpartition(PATH_SEPARATOR)[0] or category
    return keyphrase_filter(category=category, site=item.site, min_search_volume=min_search_volume)
