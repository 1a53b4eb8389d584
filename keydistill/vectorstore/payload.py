"""The payload fields that every collection indexes: one table of their names, their types and how they are filtered.

A field that is added here is indexed, verified and filtered like the others. Its values come from a column of the
inventory: a free one, or one of the known columns.

>>> keyphrase_filter(category="Audio > Headphones", min_search_volume=100)
Filter(must=(Equals(field='category_ids', value='Audio > Headphones'), Range(field='search_volume', gte=100, ...)))
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from keydistill.vectorstore.filters import Condition, Equals, Filter, Range, Scalar
from keydistill.vectorstore.spec import FieldType


@dataclass(frozen=True, slots=True)
class PayloadField:
    """An indexed payload field.

    Attributes:
        name: Name of the field, and of the inventory's column.
        type: Type of its index.
        filtered: What passes a filter: the same "value"; a category's "path", which every descendant has too; or a
            number that is "at least" the one asked for.
    """

    name: str
    type: FieldType
    filtered: Literal["value", "path", "at least"]

    def condition(self, value: str | int) -> Condition:
        """The condition that a keyphrase passes for this value."""
        if self.filtered == "at least":
            return Range(self.name, gte=int(value))
        return Equals(self.name, value)


CATEGORY_IDS = PayloadField("category_ids", "keyword", "path")
SITE = PayloadField("site", "keyword", "value")
SEARCH_VOLUME = PayloadField("search_volume", "integer", "at least")
INDEXED_FIELDS = (CATEGORY_IDS, SITE, SEARCH_VOLUME)


def payload_indexes(further: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """The payload indexes of a collection: those of the table, and `further` ones that the settings name."""
    return {**{field.name: field.type for field in INDEXED_FIELDS}, **further}


def keyphrase_filter(
    *,
    category: str | None = None,
    site: str | None = None,
    min_search_volume: int | None = None,
    where: Iterable[Condition] = (),
) -> Filter:
    """The filter of a keyphrase query.

    Args:
        category: Category id. The payload's `category_ids` hold every ancestor too, so that a parent category finds
            the keyphrases of all its descendants.
        site: Marketplace site, exactly as in the inventory.
        min_search_volume: Searches per period, inclusive.
        where: Further conditions on any payload field, such as those of `PayloadField.condition`.
    """
    values: tuple[tuple[PayloadField, Scalar | None], ...] = (
        (CATEGORY_IDS, category),
        (SITE, site),
        (SEARCH_VOLUME, min_search_volume),
    )
    must = [field.condition(value) for field, value in values if value is not None]
    return Filter((*must, *where))
