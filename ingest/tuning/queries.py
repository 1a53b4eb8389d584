"""The queries of tuning: every filter shape that `keyphrase_filter` makes, with filters that items really have."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keydistill.ingest.filters import Query, spread
from keydistill.ingest.gate import GateItems
from keydistill.retrieval import filter_shape
from keydistill.tables import PATH_SEPARATOR
from keydistill.vectorstore import Filter, keyphrase_filter

# Most queries of each group of a shape.
_MOST_PER_GROUP = 200
# Least search volumes of the filters, as quantiles: half of the keyphrases pass the first, and a tenth the second.
_VOLUMES = (0.5, 0.9)


@dataclass(frozen=True, slots=True)
class FilteredQuery:
    """A query of one filter shape.

    Attributes:
        row: Row of the item's vector.
        filter: Filter of the query.
        group: Name of the queries of the shape that are alike: those of a leaf category and those of one above it, and
            those of each least volume, are told apart, because the mean over all could hide that some find little.
    """

    row: int
    filter: Filter | None
    group: str


def queries_by_shape(items: GateItems) -> dict[str, list[FilteredQuery]]:
    """Filter shapes, each with its queries; shapes with few conditions come first.

    Args:
        items: The items to query for; row n of the vectors belongs to query n.
    """
    volumes = _least_volumes(items)
    groups_of: dict[str, dict[str, list[FilteredQuery]]] = {}
    for row, query in enumerate(items.queries):
        for filter, group in _filters(query, volumes):
            groups = groups_of.setdefault(filter_shape(filter), {})
            groups.setdefault(group, []).append(FilteredQuery(row, filter, group))
    return {
        shape: [query for group in groups_of[shape].values() for query in spread(group, _MOST_PER_GROUP)]
        for shape in sorted(groups_of, key=lambda shape: (shape.count(" + "), shape))
    }


def _filters(query: Query, volumes: list[int]) -> Iterator[tuple[Filter, str]]:
    levels: list[tuple[str | None, str]] = [(None, "")]
    if query.leaf is not None:
        levels += [(query.leaf, "leaf"), *((category, "above") for category in _above(query))]
    for category, level in levels:
        for site in [None] if query.site is None else [None, query.site]:
            for volume in [None, *volumes]:
                group = f"{level} volume {volume}" if volume is not None else level
                yield keyphrase_filter(category=category, site=site, min_search_volume=volume), group


def _above(query: Query) -> list[str]:
    """All known categories above the leaf."""
    names = (query.leaf or "").split(PATH_SEPARATOR)
    above = [PATH_SEPARATOR.join(names[:depth]) for depth in range(1, len(names))]
    return above or [category for category in [query.parent] if category is not None]


def _least_volumes(items: GateItems) -> list[int]:
    volumes = [row["search_volume"] for row in items.profile.sample if row["search_volume"] is not None]
    return sorted({int(value) for value in np.quantile(volumes, _VOLUMES)}) if volumes else []
