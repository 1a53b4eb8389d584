"""Payload filters, typed once and translated by each engine.

>>> keyphrase_filter(category="Audio > Headphones", min_search_volume=100)
Filter(must=(Equals(field='category_ids', value='Audio > Headphones'), Range(field='search_volume', gte=100, ...)))
"""

from collections.abc import Iterable
from dataclasses import dataclass

Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class Equals:
    """The field has this value; of a list field, one of its elements has."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field has one of these values (all text or all integers, at least one)."""

    field: str
    values: tuple[str, ...] | tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"AnyOf on {self.field!r} has no values; leave the condition out instead")


@dataclass(frozen=True, slots=True)
class Range:
    """The number lies within these bounds; a bound that is None does not bind."""

    field: str
    gte: float | None = None
    lte: float | None = None
    gt: float | None = None
    lt: float | None = None

    def __post_init__(self) -> None:
        if self.gte is None and self.lte is None and self.gt is None and self.lt is None:
            raise ValueError(f"Range on {self.field!r} has no bound; leave the condition out instead")


Condition = Equals | AnyOf | Range


@dataclass(frozen=True, slots=True)
class Filter:
    """All of `must` hold. An empty filter lets everything through."""

    must: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.must)


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
        where: Further conditions on any payload field.
    """
    must: list[Condition] = []
    if category is not None:
        must.append(Equals("category_ids", category))
    if site is not None:
        must.append(Equals("site", site))
    if min_search_volume is not None:
        must.append(Range("search_volume", gte=min_search_volume))
    must.extend(where)
    return Filter(tuple(must))
