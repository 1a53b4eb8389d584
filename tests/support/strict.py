"""Qdrant's strict mode as the REST front of the tests has it: what a collection's limits refuse, in Qdrant's words.

See https://github.com/qdrant/qdrant/blob/master/lib/collection/src/operations/verification/mod.rs.
"""

from collections.abc import Iterator
from typing import Any

from tests.support.wire import Refusal

Json = Any


def check_upsert(limits: Json, body: Json, points: int) -> None:
    """Refuse too large a batch of points, and points beyond the most."""
    batch = len(body["batch"]["ids"]) if "batch" in body else len(body["points"])
    _at_most(limits, "upsert_max_batchsize", batch, "Upsert limit exceeded")
    _at_most(limits, "max_points_count", points + batch, "Max points count exceeded")


def check_filtered_update(limits: Json, filter: Json) -> None:
    """Refuse what the filter of an update may not have."""
    _check_filter(limits, filter, "unindexed_filtering_update", set())


def check_search(limits: Json, body: Json, indexed: set[str]) -> None:
    """Refuse a query, or a page of a scroll, that asks for too much."""
    params = body.get("params") or {}
    _at_most(limits, "max_query_limit", body.get("limit", 10), "Limit exceeded")
    _at_most(limits, "search_max_hnsw_ef", params.get("hnsw_ef") or 0, "Hnsw_ef exceeded")
    oversampling = (params.get("quantization") or {}).get("oversampling") or 0
    _at_most(limits, "search_max_oversampling", oversampling, "Oversampling exceeded")
    if params.get("exact") and limits.get("search_allow_exact") is False:
        _refuse("Exact search is disabled", "search_allow_exact")
    _check_filter(limits, body.get("filter"), "unindexed_filtering_retrieve", indexed)


def check_batch(limits: Json, searches: int) -> None:
    """Refuse too many queries in one request."""
    _at_most(limits, "search_max_batchsize", searches, "Search batch size exceeded")


def check_timeout(limits: Json, seconds: int) -> None:
    """Refuse a request that may take too long."""
    _at_most(limits, "max_timeout", seconds, "Timeout exceeded")


def check_index(limits: Json, indexes: int) -> None:
    """Refuse one index too many."""
    _at_most(limits, "max_payload_index_count", indexes, "Collection already has the maximum number of payload indices")


def _check_filter(limits: Json, filter: Json, unindexed: str, indexed: set[str]) -> None:
    conditions = list(_conditions(filter or {}))
    _at_most(limits, "filter_max_conditions", len(conditions), "Filter condition limit exceeded")
    for condition in conditions:
        size = len(condition.get("has_id") or (condition.get("match") or {}).get("any") or [])
        _at_most(limits, "condition_max_size", size, "Condition size limit exceeded")
        if "key" in condition and condition["key"] not in indexed and limits.get(unindexed) is False:
            raise Refusal(
                400, f'Bad request: Index required but not found for "{condition["key"]}" of one of [keyword]'
            )


def _conditions(filter: Json) -> Iterator[Json]:
    for clause in ("must", "should", "must_not"):
        for condition in filter.get(clause) or []:
            if any(nested in condition for nested in ("must", "should", "must_not")):
                yield from _conditions(condition)
            else:
                yield condition


def _at_most(limits: Json, name: str, value: float, what: str) -> None:
    limit = limits.get(name)
    if limit is not None and value > limit:
        _refuse(f"{what} {value} > {limit} for `{name}`", name)


def _refuse(what: str, name: str) -> None:
    raise Refusal(400, f"Bad request: {what}. Help: Limited by strict mode, `{name}`")
