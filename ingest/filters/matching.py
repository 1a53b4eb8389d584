"""Whether payloads pass a filter, as the engines decide it."""

from collections.abc import Sequence

from keydistill.vectorstore import AnyOf, Condition, Equals, Filter, Payload


def passes(payload: Payload, filter: Filter | None) -> bool:
    """Whether a point with this payload passes a filter.

    >>> from keydistill.vectorstore import keyphrase_filter
    >>> passes({"site": "US", "search_volume": 9}, keyphrase_filter(site="US", min_search_volume=10))
    False
    """
    return filter is None or all(holds(payload.get(condition.field), condition) for condition in filter.must)


def holds(stored: object, condition: Condition) -> bool:
    """Whether a stored value fulfils a condition: a list by one of its elements, and a bool no number's."""
    values: Sequence[object] = stored if isinstance(stored, list) else [stored]
    if isinstance(condition, Equals):
        return any(_is_same(each, condition.value) for each in values)
    if isinstance(condition, AnyOf):
        return any(_is_same(each, value) for each in values for value in condition.values)
    return any(
        isinstance(each, int | float)
        and not isinstance(each, bool)
        and (condition.gte is None or each >= condition.gte)
        and (condition.gt is None or each > condition.gt)
        and (condition.lte is None or each <= condition.lte)
        and (condition.lt is None or each < condition.lt)
        for each in values
    )


def _is_same(stored: object, value: object) -> bool:
    return stored == value and isinstance(stored, bool) == isinstance(value, bool)
