"""The filters that serving uses, as shapes: what is true of one shape need not be true of another.

An index may answer one shape well and another badly: recall under a filter depends on the share of points that pass it.
So verification and gate test each shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from keydistill.encoders import ItemFields
from keydistill.tables import PATH_SEPARATOR
from keydistill.vectorstore import Filter, keyphrase_filter


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for on behalf of a seller's item.

    Attributes:
        id: Id of the item, or of the point whose keyphrase stands in for one.
        text: Title of the item, or that keyphrase.
        site: Marketplace site of the item.
        leaf: Id of the item's leaf category.
        parent: Id of the category above the leaf.
        fields: Free fields of the item.
    """

    id: str
    text: str
    site: str | None = None
    leaf: str | None = None
    parent: str | None = None
    fields: ItemFields = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class FilterShape:
    """The conditions that a filter has, without their values."""

    name: str
    site: bool = False
    category: Literal["none", "leaf", "parent"] = "none"
    volume: bool = False

    def filter(self, query: Query, min_volume: int | None) -> Filter | None:
        """The filter of this shape for a query; None where the query lacks a value that the shape restricts.

        >>> FilterShape("site", site=True).filter(Query("1", "red shoes", site="US"), None)
        Filter(must=(Equals(field='site', value='US'),))
        >>> FilterShape("leaf category", category="leaf").filter(Query("1", "red shoes"), None) is None
        True
        """
        category = {"none": None, "leaf": query.leaf, "parent": query.parent}[self.category]
        lacking = (
            (self.site and query.site is None)
            or (self.category != "none" and category is None)
            or (self.volume and min_volume is None)
        )
        if lacking:
            return None
        return keyphrase_filter(
            category=category,
            site=query.site if self.site else None,
            min_search_volume=min_volume if self.volume else None,
        )


SHAPES = (
    FilterShape("no filter"),
    FilterShape("site", site=True),
    FilterShape("leaf category", category="leaf"),
    FilterShape("parent category", category="parent"),
    FilterShape("site and category", site=True, category="leaf"),
    FilterShape("category and volume", category="leaf", volume=True),
)


def leaf_and_parent(categories: list[str], rows: Mapping[str, int]) -> tuple[str | None, str | None]:
    """The leaf category and the one above it, of a keyphrase's categories with all their ancestors.

    Ids need not say who is whose parent; a descendant never has more rows than its ancestor.

    Args:
        categories: Categories of one keyphrase.
        rows: Each category with the number of keyphrases that have it.

    >>> leaf_and_parent(["A", "A > B", "A > B > C"], {"A": 9, "A > B": 4, "A > B > C": 4})
    ('A > B > C', 'A > B')
    >>> leaf_and_parent(["1", "12"], {"1": 9, "12": 4})
    ('12', '1')
    """
    if not categories:
        return None, None
    leaf, *others = sorted(categories, key=lambda id: (rows[id], -len(id), id))
    above = parent_path(leaf)
    if above in others:
        return leaf, above
    return leaf, next((id for id in others if rows[id] > rows[leaf]), None)


def parent_path(category: str | None) -> str | None:
    """The category above a path; None for a root, and for an id that is no path."""
    return (category or "").rpartition(PATH_SEPARATOR)[0] or None
