"""Filters to check the engine's exact counts with, and the same counts taken from the snapshot.

An engine answers filters from payload indexes, which can lack points that the collection holds: then retrieval by id
finds every point, and a filter silently loses some.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.ingest.collection.points import POINT_COLUMNS
from keydistill.ingest.filters import SHAPES, holds
from keydistill.ingest.snapshot import SnapshotProfile
from keydistill.vectorstore import (
    CATEGORY_IDS,
    INDEXED_FIELDS,
    SEARCH_VOLUME,
    SITE,
    Condition,
    Equals,
    Filter,
    Payload,
    Range,
    keyphrase_filter,
)

# Rows that filters are made of.
SAMPLE_ROWS = 64
_FILTERS_PER_SHAPE = 6
# The most frequent categories and sites: together they cover nearly every row that has one.
_WIDEST = 8
# Fields whose values a snapshot's profile counts.
_PROFILED = {CATEGORY_IDS.name, SITE.name, SEARCH_VOLUME.name}


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter with the name of its shape."""

    shape: str
    filter: Filter


def filters_to_count(
    profile: SnapshotProfile, indexes: Mapping[str, str], payloads: Sequence[Payload]
) -> list[NamedFilter]:
    """Filters of every shape that serving uses, of the widest values, and of the other indexed fields.

    Args:
        profile: Profile of the snapshot.
        indexes: Indexed payload fields with their types.
        payloads: Payloads of some rows, for the values of fields that only some inventories have.
    """
    shape_of: dict[Filter, str] = {}
    for shape in SHAPES:
        filters = [shape.filter(query, profile.median_volume) for query in profile.queries()]
        distinct = [filter for filter in dict.fromkeys(filters) if filter]
        for filter in distinct[:_FILTERS_PER_SHAPE]:
            shape_of.setdefault(filter, shape.name)
    for category, _ in profile.categories.most_common(_WIDEST):
        shape_of.setdefault(keyphrase_filter(category=category), "category")
    for site, _ in profile.sites.most_common(_WIDEST):
        shape_of.setdefault(keyphrase_filter(site=site), "site")
    if profile.least_volume is not None:
        shape_of[keyphrase_filter(min_search_volume=profile.least_volume)] = "volume"
    indexed_fields = {field.name: field for field in INDEXED_FIELDS}
    for name in sorted(set(indexes) - _PROFILED):
        values = [value for each in payloads if isinstance(value := each.get(name), (str, int))]
        for value in list(dict.fromkeys(values))[:_FILTERS_PER_SHAPE]:
            condition = indexed_fields[name].condition(value) if name in indexed_fields else Equals(name, value)
            shape_of[Filter((condition,))] = name
    return [NamedFilter(shape, filter) for filter, shape in shape_of.items()]


def passing(
    rows: pa.Table, payloads: Callable[[], Sequence[Payload]], filters: Sequence[NamedFilter]
) -> NDArray[np.int64]:
    """The number of a part's rows that pass each filter, shape (filters,).

    Args:
        rows: Rows of the part, by `PART_SCHEMA`.
        payloads: Function that makes the payload of each row; called where some filter needs a free field.
        filters: Filters that `filters_to_count` chose.
    """
    conditions = dict.fromkeys(condition for named in filters for condition in named.filter.must)
    free = [condition for condition in conditions if not _is_column(rows, condition)]
    fields = payloads() if free else ()
    masks = {condition: _mask(rows, condition) for condition in conditions if condition not in free}
    for condition in free:
        stored = (each.get(condition.field) for each in fields)
        masks[condition] = np.fromiter((holds(value, condition) for value in stored), bool, len(rows))
    counts = np.empty(len(filters), dtype=np.int64)
    for place, named in enumerate(filters):
        passes = np.ones(len(rows), dtype=bool)
        for condition in named.filter.must:
            passes &= masks[condition]
        counts[place] = passes.sum()
    return counts


def _is_column(rows: pa.Table, condition: Condition) -> bool:
    return condition.field in POINT_COLUMNS and condition.field in rows.column_names


def _mask(rows: pa.Table, condition: Condition) -> NDArray[np.bool_]:
    column = rows[condition.field].combine_chunks()
    if isinstance(condition, Equals):
        if not pa.types.is_list(column.type):
            return _bools(pc.equal(column, condition.value))
        hits = _bools(pc.equal(pc.list_flatten(column), condition.value))
        mask = np.zeros(len(rows), dtype=bool)
        mask[pc.list_parent_indices(column).to_numpy()[hits]] = True
        return mask
    if isinstance(condition, Range) and condition.gte is not None:
        return _bools(pc.greater_equal(column, condition.gte))
    raise ValueError(f"no count is known for the condition {condition}")


def _bools(column: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=bool)
