"""The limits of strict mode, which a server may set for a collection: what is obeyed, and what cannot be.

A collection's configuration says them (https://qdrant.tech/documentation/guides/administration/#strict-mode).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from qdrant_client import models

from keydistill.errors import VectorStoreError
from keydistill.vectorstore.engine import SearchParams
from keydistill.vectorstore.filters import AnyOf, Filter
from keydistill.vectorstore.spec import CollectionSpec

# How long what a collection's configuration says is taken for true: its owner may change its limits.
_FRESH_SECONDS = 60.0
_MOST_KEPT = 32
# Results that the gate cannot do without in one query (keydistill.ingest.gate).
_LEAST_QUERY_LIMIT = 16
_LIFT = "or set KEYDISTILL_QDRANT_LIFT_LIMITS=true where your key may change the limits of its own collections"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a collection allows.

    Attributes:
        name: Name of the collection, for messages.
        strict: Limits that are in force; all None where strict mode is off.
        indexed: Fields with a payload index.
    """

    name: str
    strict: models.StrictModeConfigOutput
    indexed: frozenset[str]

    @classmethod
    def of(cls, name: str, info: models.CollectionInfo) -> "Limits":
        """The limits that a collection's description tells."""
        strict = info.config.strict_mode_config
        is_strict = strict is not None and bool(strict.enabled)
        known = strict if strict is not None and is_strict else models.StrictModeConfigOutput()
        return cls(name, known, frozenset(info.payload_schema))

    def at_most(self, size: int, limit: str) -> int:
        """The size, or what a limit such as "upsert_max_batchsize" leaves of it."""
        allowed = getattr(self.strict, limit)
        return size if allowed is None else max(1, min(size, int(allowed)))

    def search_params(self, params: SearchParams) -> SearchParams:
        """Search settings cut to what is allowed.

        Raises:
            VectorStoreError: They ask for an exact search, which is not allowed.
        """
        if params.exact and self.strict.search_allow_exact is False:
            raise self._refusal("search_allow_exact=false", "an exact search", f"lift it, {_LIFT}")
        oversampling = self.strict.search_max_oversampling
        return replace(
            params,
            ef=self.at_most(params.ef, "search_max_hnsw_ef"),
            oversampling=params.oversampling if oversampling is None else min(params.oversampling, oversampling),
        )

    def check_query(self, limit: int) -> None:
        """Raise if a query asks for more results than is allowed.

        Raises:
            VectorStoreError: It does.
        """
        allowed = self.strict.max_query_limit
        if allowed is not None and limit > allowed:
            raise self._refusal(f"max_query_limit={allowed}", f"{limit} results", "ask for fewer")

    def check_filter(self, filter: Filter | None) -> None:
        """Raise if a filter has what is not allowed.

        Raises:
            VectorStoreError: It has too many conditions, too large a one, or one on a field without an index.
        """
        conditions = () if filter is None else filter.must
        most, largest = self.strict.filter_max_conditions, self.strict.condition_max_size
        if most is not None and len(conditions) > most:
            raise self._refusal(f"filter_max_conditions={most}", f"{len(conditions)} conditions", "ask with fewer")
        for condition in conditions:
            size = len(condition.values) if isinstance(condition, AnyOf) else 1
            if largest is not None and size > largest:
                what = f"{size} values for {condition.field!r}"
                raise self._refusal(f"condition_max_size={largest}", what, "ask with fewer")
            if self.strict.unindexed_filtering_retrieve is False and condition.field not in self.indexed:
                raise self._refusal(
                    "unindexed_filtering_retrieve=false",
                    f"a filter on {condition.field!r}, which has no index",
                    f'name it in the setting payload_indexes, as in {{"{condition.field}": "keyword"}}, and reindex',
                )

    def check_room(self, points: int, vector_bytes: int, payload_bytes: int) -> None:
        """Raise if so much is not allowed.

        Raises:
            VectorStoreError: There are too many points, or their vectors or payloads are too large.
        """
        for limit, needed, unit in (
            ("max_points_count", points, "points"),
            ("max_collection_vector_size_bytes", vector_bytes, "bytes of vectors"),
            ("max_collection_payload_size_bytes", payload_bytes, "bytes of payload"),
        ):
            allowed = getattr(self.strict, limit)
            if allowed is not None and needed > allowed:
                raise self._refusal(f"{limit}={allowed}", f"about {needed:,} {unit}", "raise it, or build less")

    def in_the_way(self, spec: CollectionSpec) -> dict[str, bool | int]:
        """The limits that a build cannot obey, each with a value that it could."""
        in_the_way: dict[str, bool | int] = {}
        if self.strict.search_allow_exact is False:
            in_the_way["search_allow_exact"] = True  # the gate compares with every point
        for limit, needed in (
            ("max_payload_index_count", len(spec.payload_indexes)),
            ("max_query_limit", _LEAST_QUERY_LIMIT),
        ):
            allowed = getattr(self.strict, limit)
            if allowed is not None and allowed < needed:
                in_the_way[limit] = needed
        return in_the_way

    def refuse_build(self, in_the_way: dict[str, bool | int]) -> VectorStoreError:
        """The error that names the limits in the way of a build."""
        named = ", ".join(f"{limit}={getattr(self.strict, limit)}".lower() for limit in in_the_way)
        needed = ", ".join(f"{limit}={value}".lower() for limit, value in in_the_way.items())
        return self._refusal(named, f"a build, which needs {needed}", f"have them changed, {_LIFT}")

    def refuse_own(self, in_the_way: dict[str, bool | int]) -> str:
        """What is wrong with limits of the setting `strict_mode` that are in the way of a build."""
        named = ", ".join(f"{limit} is {getattr(self.strict, limit)}".lower() for limit in in_the_way)
        needed = ", ".join(f"{limit}={value}".lower() for limit, value in in_the_way.items())
        return f"{named}, and a build needs {needed}; change it, or leave it out"

    def _refusal(self, limit: str, what: str, advice: str) -> VectorStoreError:
        return VectorStoreError(f"collection {self.name!r}: strict mode ({limit}) does not allow {what}; {advice}")


@dataclass(slots=True)
class KnownLimits:
    """Limits of the collections that are asked, each read once in a while; threads may share one."""

    describe: Callable[[str], models.CollectionInfo]
    _kept: dict[str, tuple[float, Limits]] = field(default_factory=dict)

    def of(self, name: str) -> Limits:
        """The limits of a collection, or of the one that an alias names."""
        kept = self._kept.get(name)
        if kept is None or time.monotonic() - kept[0] > _FRESH_SECONDS:
            kept = time.monotonic(), Limits.of(name, self.describe(name))
            # Swaps come and go: what is asked no more is not kept for ever.
            self._kept = dict([*self._kept.items(), (name, kept)][-_MOST_KEPT:])
        return kept[1]

    def forget(self, name: str) -> None:
        """Read the limits of a collection again when they are asked for next."""
        self._kept.pop(name, None)
