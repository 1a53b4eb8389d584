"""The server engine: collections on a Qdrant server, over REST or gRPC.

A collection's state, the spec that it was made with and the caller's metadata stand in the collection's own metadata on
the server, so that every process that reaches the server sees the same.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar
from uuid import uuid4

import numpy as np
from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from keydistill.errors import (
    AliasChangedError,
    CollectionExistsError,
    CollectionNotFoundError,
    CollectionStateError,
    VectorStoreError,
)
from keydistill.masking import shown_address
from keydistill.vectorstore.engine import (
    CollectionInfo,
    CollectionSpec,
    Hit,
    Lost,
    Payload,
    PointBatch,
    Record,
    SearchParams,
    Vectors,
    estimated_bytes,
)
from keydistill.vectorstore.filters import Filter
from keydistill.vectorstore.server import translation as translate
from keydistill.vectorstore.server.calls import Patience
from keydistill.vectorstore.server.connection import Connection, connect
from keydistill.vectorstore.server.limits import Limits
from keydistill.vectorstore.server.tls import TlsFiles

_Result = TypeVar("_Result")

# Larger requests cost the server memory and are dear to repeat; its cap is 32 MB (`service.max_request_size_mb` in
# https://github.com/qdrant/qdrant/blob/master/config/config.yaml).
_REQUEST_BYTES = 5_000_000
_POINTS_PER_REQUEST = 10_000
_IDS_PER_REQUEST = 10_000
_PAYLOAD_TRIES = 5
# Hits that are asked for and cut off. Asking again where an answer is short would find the same, but every query that
# has no more to find, as in a small category, would be asked twice.
_SPARE_HITS = 3
# Writes of a point go through the leader of its shard: two that follow each other by different nodes stay in turn.
_ORDERING = models.WriteOrdering.MEDIUM
_ORDINARY_SECONDS = 60
_PAGE, _PAGE_WITH_VECTORS = 1_000, 250


class ServerEngine:
    """`Engine` on a Qdrant server. Threads may share one; a forked process opens its own."""

    changes_in_place: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None = None,
        prefer_grpc: bool = False,
        grpc_port: int = 6334,
        timeout_seconds: int = 60,
        retries: int = 4,
        query_seconds: float = 10.0,
        backoff_seconds: float = 0.5,
        stall_seconds: float = 1_800.0,
        tls: TlsFiles | None = None,
        lift_limits: bool = False,
    ) -> None:
        """Prepare a connection; nothing is sent before the first operation.

        Args:
            url: REST address. `https` turns TLS on, for gRPC too. `user:password@` is sent as basic authentication.
            api_key: Key that the server was started with.
            prefer_grpc: Speak gRPC where the client can.
            grpc_port: Port for it, on the same host.
            timeout_seconds: Limit for one request.
            retries: Most repeats of a request that failed for a transient reason; see `patient` for work that waits.
            query_seconds: Time after which a query is not repeated any more.
            backoff_seconds: Pause before the first repeat; it doubles with each.
            stall_seconds: Longest time without any change while the server optimises; the whole may take any time.
            tls: Files of certificates, where the common ones are not enough.
            lift_limits: Change those limits of strict mode, for new collections, that no build can obey.

        Raises:
            SettingsError: The address cannot be one.
        """
        connection = connect(
            url,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            grpc_port=grpc_port,
            timeout_seconds=timeout_seconds,
            patience=Patience(max(_ORDINARY_SECONDS, timeout_seconds), retries + 1),
            backoff_seconds=backoff_seconds,
            tls=tls,
        )
        self._open(connection, stall_seconds)
        self._timeout_seconds = timeout_seconds
        self._query_patience = Patience(query_seconds, retries + 1)
        self._lift_limits = lift_limits

    @classmethod
    def from_client(cls, client: QdrantClient, *, retries: int = 0, stall_seconds: float = 60.0) -> Self:
        """An engine on a client that exists, such as the local mode `QdrantClient(":memory:")`; `close` closes it."""
        engine = cls.__new__(cls)
        address = shown_address(client.init_options.get("url") or "local://memory")
        patience = Patience(_ORDINARY_SECONDS, retries + 1)
        engine._open(Connection(client, address, patience=patience, backoff_seconds=0.5), stall_seconds)
        return engine

    def _open(self, connection: Connection, stall_seconds: float) -> None:
        self._connection = connection
        self._client = connection.client
        self._stall_seconds = stall_seconds
        self._timeout_seconds = _ORDINARY_SECONDS
        self._query_patience = connection.patience
        self._lift_limits = False
        self._is_deciding = False

    def patient(self, seconds: float, waiting: Callable[[str], None]) -> Self:
        """See `Engine.patient`. It reads aliases and descriptions until the nodes of a cluster say the same."""
        if seconds == 0:
            return self
        other = copy(self)
        other._query_patience = Patience(seconds, waiting=waiting)
        other._connection = self._connection.patient(other._query_patience)
        other._is_deciding = True
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, name: str, spec: CollectionSpec, metadata: Mapping[str, Any]) -> None:
        """See `Engine.create`."""
        token = uuid4().hex
        stored = translate.building_metadata(spec, token, metadata)
        connection = self._connection
        if name in self.aliases():
            raise _exists(name)
        try:
            connection.call(
                f"creating {name!r}",
                self._client.create_collection,
                name,
                vectors_config=models.VectorParams(size=spec.dimension, distance=models.Distance.DOT),
                # No graph during the load: it is built once, at the end. `indexing_threshold=0` would load faster
                # but leave everything unoptimised in memory until then
                # (https://qdrant.tech/documentation/tutorials-develop/bulk-upload/).
                hnsw_config=models.HnswConfigDiff(m=0, ef_construct=spec.hnsw_ef_construct),
                quantization_config=translate.quantization(spec),
                metadata=stored,
            )
        except CollectionExistsError:
            # A request whose answer got lost is repeated, and then meets its own work.
            if translate.token(connection.describe(name)) != token:
                raise _exists(name) from None
        connection.consensus.settle(f"creating {name!r}", lambda: translate.token(connection.look(name)) == token)
        self._meet_limits(name, spec)
        connection.make_indexes(name, spec)

    def _meet_limits(self, name: str, spec: CollectionSpec) -> None:
        """Lift the limits of strict mode that are in the way of a build, or delete the empty collection and refuse."""
        limits = self._connection.limits.of(name)
        in_the_way = limits.in_the_way(spec)
        if not in_the_way:
            return
        self._connection.limits.forget(name)
        if not self._lift_limits:
            self._connection.call(f"deleting {name!r}", self._client.delete_collection, name)
            raise limits.refuse_build(in_the_way)
        self._connection.update(
            name,
            lambda info: not Limits.of(name, info).in_the_way(spec),
            strict_mode_config=models.StrictModeConfig.model_validate(in_the_way),
        )

    def check_room(self, name: str, points: int, payload_bytes: int) -> None:
        """See `Engine.check_room`."""
        info = self._connection.describe(name)
        Limits.of(name, info).check_room(points, points * translate.dimension(info) * 4, payload_bytes)

    def copy(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """Refused: a copy would have to travel point by point, and here nobody needs one; see `changes_in_place`."""
        raise VectorStoreError(
            f"copying {source!r} to {target!r}: a server changes collections in place; write to {source!r} itself"
        )

    def set_metadata(self, name: str, changes: Mapping[str, Any]) -> None:
        """See `Engine.set_metadata`."""
        translate.check_metadata_keys(changes)
        self._connection.require_collection(name)
        self._require_ours(name)
        if changes:
            # The server merges key by key, and a null removes its key (https://github.com/qdrant/qdrant/pull/9907).
            self._connection.update(name, lambda info: translate.has_metadata(info, changes), metadata=dict(changes))

    def upsert(self, name: str, points: PointBatch) -> None:
        """See `Engine.upsert`."""
        if not np.isfinite(points.vectors).all():
            # They would leave as nulls: JSON has no other word for them.
            raise VectorStoreError(f"vectors for {name!r} hold values that are not finite; nothing was written")
        self._within_limits(name, lambda limits: self._upsert(name, points, limits))

    def _upsert(self, name: str, points: PointBatch, limits: Limits) -> None:
        most = limits.at_most(_POINTS_PER_REQUEST, "upsert_max_batchsize")
        for batch in translate.request_batches(points, _REQUEST_BYTES, most):
            self._connection.write(
                f"writing to {name!r}", self._client.upsert, name, batch, wait=True, ordering=_ORDERING
            )

    def _within_limits(self, name: str, work: Callable[[Limits], _Result]) -> _Result:
        """Do what the limits of a collection bound; once more by its limits of now, where others were refused."""
        known = self._connection.limits.of(name)
        try:
            return work(known)
        except VectorStoreError as refusal:
            self._connection.limits.forget(name)
            if type(refusal) is not VectorStoreError or self._connection.limits.of(name) == known:
                raise
        return work(self._connection.limits.of(name))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """See `Engine.delete`."""
        for some in translate.parts(translate.point_ids(ids), _IDS_PER_REQUEST):
            selector = models.PointIdsList(points=list(some))
            self._connection.write(
                f"deleting from {name!r}", self._client.delete, name, selector, wait=True, ordering=_ORDERING
            )

    def set_payload(self, name: str, ids: Sequence[str], payload: Payload) -> None:
        """See `Engine.set_payload`."""
        for some in translate.parts(translate.point_ids(ids), _IDS_PER_REQUEST):
            self._set_payload(name, some, payload)

    def _set_payload(self, name: str, ids: Sequence[str], payload: Payload) -> None:
        # A list with an id that is not there is refused after some of it was done, and a filter, which would skip it,
        # is what strict mode limits: so those that are there are asked for first.
        for tries_left in reversed(range(_PAYLOAD_TRIES)):
            there = self._connection.call(
                f"reading points of {name!r}", self._client.retrieve, name, list(ids), with_payload=False
            )
            if not there:
                return
            try:
                self._connection.write(
                    f"writing payload to {name!r}",
                    self._client.set_payload,
                    name,
                    payload=payload,
                    points=[point.id for point in there],
                    wait=True,
                    ordering=_ORDERING,
                )
            except VectorStoreError as error:
                if not tries_left or "No point with id" not in str(error):
                    raise
            else:
                return

    def finish(self, name: str) -> None:
        """See `Engine.finish`. Called again after a failure, it goes on where the server is."""
        info = self._connection.describe(name)
        if translate.is_ready(info):
            return
        spec = translate.stored_spec(info)
        if spec is None:
            raise _foreign(name)
        self._connection.make_indexes(name, spec)  # there already, unless a process died inside `create`
        self._connection.update(
            name,
            # A node that does not know of it yet has nothing to optimise, and would say that it is done.
            lambda info: info.config.hnsw_config.m == spec.hnsw_m,
            hnsw_config=models.HnswConfigDiff(m=spec.hnsw_m),
        )
        self._connection.wait_until_optimized(name, self._stall_seconds)
        self._connection.update(name, translate.is_ready, metadata=translate.ready_metadata())

    def query(
        self,
        name: str,
        vector: Vectors,
        limit: int,
        filter: Filter | None = None,
        params: SearchParams | None = None,
    ) -> list[Hit]:
        """See `Engine.query`."""
        return self.query_batch(name, vector[None, :], limit, [filter], params)[0]

    def query_batch(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filters: Sequence[Filter | None] | None = None,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        """See `Engine.query_batch`."""
        if not np.isfinite(vectors).all():
            raise VectorStoreError(f"query vectors for {name!r} hold values that are not finite; embed them again")
        filters = filters if filters is not None else [None] * len(vectors)
        rows = list(zip(vectors, filters, strict=True))
        wanted = params or SearchParams()
        return self._within_limits(name, lambda limits: self._query(name, rows, limit, wanted, limits))

    def _query(
        self, name: str, rows: Sequence[tuple[Vectors, Filter | None]], limit: int, params: SearchParams, limits: Limits
    ) -> list[list[Hit]]:
        limits.check_query(limit)
        params = limits.search_params(params)
        # What is deleted between the server's two steps, finding ids and reading payloads, shortens the answer.
        more = limits.at_most(limit + _SPARE_HITS, "max_query_limit")
        requests = []
        for vector, filter in rows:
            limits.check_filter(filter)
            requests.append(translate.query_request(vector, more, filter, params))
        fitting = translate.rows_per_request(rows[0][0].shape[0], _REQUEST_BYTES) if rows else 1
        seconds = limits.at_most(self._query_timeout, "max_timeout")
        hits: list[list[Hit]] = []
        for some in translate.parts(requests, limits.at_most(fitting, "search_max_batchsize")):
            answers = self._connection.call_within(
                self._query_patience,
                f"querying {name!r}",
                self._client.query_batch_points,
                name,
                some,
                timeout=seconds,
            )
            hits.extend([translate.hit(point) for point in answer.points[:limit]] for answer in answers)
        return hits

    @property
    def _query_timeout(self) -> int:
        return min(self._timeout_seconds, max(1, math.ceil(self._query_patience.seconds)))

    def count(self, name: str, filter: Filter | None = None) -> int:
        """See `Engine.count`."""
        if filter:
            self._connection.limits.of(name).check_filter(filter)
        conditions = translate.server_filter(filter)
        answer = self._connection.call(f"counting {name!r}", self._client.count, name, conditions, exact=True)
        return int(answer.count)

    def scroll(self, name: str, filter: Filter | None = None, *, with_vectors: bool = False) -> Iterator[Record]:
        """See `Engine.scroll`."""
        limits = self._connection.limits.of(name)
        limits.check_filter(filter)
        page_size = limits.at_most(_PAGE_WITH_VECTORS if with_vectors else _PAGE, "max_query_limit")
        offset: models.ExtendedPointId | None = None
        while True:
            page, offset = self._connection.call(
                f"scrolling {name!r}",
                self._client.scroll,
                name,
                scroll_filter=translate.server_filter(filter),
                limit=page_size,
                offset=offset,
                with_vectors=with_vectors,
            )
            yield from map(translate.record, page)
            if offset is None:
                return

    def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Record]:
        """See `Engine.retrieve`."""
        asked = translate.point_ids(ids)
        records: dict[str, Record] = {}
        for some in translate.parts(asked, _PAGE_WITH_VECTORS if with_vectors else _PAGE):
            points = self._connection.call(
                f"reading points of {name!r}", self._client.retrieve, name, some, with_vectors=with_vectors
            )
            records.update((str(point.id), translate.record(point)) for point in points)
        return [records[id] for id in asked if id in records]

    def info(self, name: str) -> CollectionInfo:
        """See `Engine.info`."""
        name = self.aliases().get(name, name)
        connection = self._connection
        if self._is_deciding:
            info = connection.consensus.steady(f"describing {name!r}", lambda: _Settings(connection.look(name))).info
        else:
            info = connection.describe(name)
        spec = translate.stored_spec(info)
        if spec is None:
            # Of what others made nothing but what the server says by itself.
            return CollectionInfo(
                name=name,
                state="foreign",
                dimension=translate.dimension(info),
                points=info.points_count,
                payload_indexes=translate.field_types(info),
                metadata={},
            )
        points = self.count(name)  # the server's own numbers are approximate
        return CollectionInfo(
            name=name,
            state="ready" if translate.is_ready(info) else "building",
            dimension=translate.dimension(info),
            points=points,
            payload_indexes=translate.field_types(info),
            metadata=translate.caller_metadata(info),
            disk_bytes=estimated_bytes(points, spec),
            disk_is_estimated=True,
        )

    def collections(self) -> list[str]:
        """See `Engine.collections`."""
        return self._connection.collections()

    def lost(self) -> dict[str, Lost]:
        """See `Engine.lost`."""
        return {}

    def release(self, name: str) -> None:
        """See `Engine.release`; the connection is all that is open here, and all collections share it."""

    def drop(self, name: str) -> None:
        """See `Engine.drop`. The server would delete the aliases together with the collection; we refuse."""
        connection = self._connection
        for alias, target in connection.consensus.steady("listing aliases", connection.aliases).items():
            if target == name:
                raise CollectionStateError(
                    f"collection {name!r} is live behind alias {alias!r}; swap the alias before deleting it"
                )
        connection.require_collection(name)
        self._require_ours(name)
        connection.call(f"deleting {name!r}", self._client.delete_collection, name)
        connection.limits.forget(name)
        connection.consensus.settle(f"deleting {name!r}", lambda: name not in connection.collections())

    def aliases(self) -> dict[str, str]:
        """See `Engine.aliases`."""
        if self._is_deciding:
            return self._connection.consensus.steady("listing aliases", self._connection.aliases)
        return self._connection.aliases()

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """See `Engine.swap_alias`.

        The server changes the alias atomically, but has no compare-and-set: between our look at the alias and our
        change somebody else may change it too. The caller's lock or lease on the alias closes that gap.
        """
        connection = self._connection
        connection.require_collection(target)
        info = connection.describe(target)
        if translate.is_foreign(info):
            raise _foreign(target)
        if not translate.is_ready(info):
            raise CollectionStateError(f"collection {target!r} is still building; finish it before an alias names it")
        if alias in connection.collections():
            raise CollectionExistsError(f"{alias!r} is a collection and cannot be an alias too; rename one")
        present = connection.consensus.steady("listing aliases", connection.aliases).get(alias)
        if present != expected:
            raise AliasChangedError(
                f"alias {alias!r} names {present!r}, expected {expected!r}: somebody else swapped it; look at "
                "`keydistill collections list`, then start again"
            )
        if connection.consensus.is_shared:
            self._number_swap(target, present)
        if guard is not None:
            guard()
        connection.call(
            f"pointing alias {alias!r} to {target!r}",
            self._client.update_collection_aliases,
            translate.alias_change(alias, target, present),
        )
        connection.consensus.settle(
            f"pointing alias {alias!r} to {target!r}", lambda: connection.aliases().get(alias) == target
        )

    def went_live(self, name: str) -> int | None:
        """See `Engine.went_live`."""
        connection = self._connection
        return translate.went_live(connection.describe(name)) if connection.consensus.is_shared else None

    def _number_swap(self, target: str, present: str | None) -> None:
        """Number the swap that is about to be made, so that readers know which of two collections came later."""
        numbers = [translate.went_live(self._connection.describe(target)) or 0]
        if present is not None:
            with suppress(CollectionNotFoundError):  # deleted by hand, with its alias left to a slow node
                numbers.append(translate.went_live(self._connection.describe(present)) or 0)
        change = translate.going_live(max(numbers) + 1)
        self._connection.update(target, lambda info: translate.has_metadata(info, change), metadata=change)

    def _require_ours(self, name: str) -> None:
        if translate.is_foreign(self._connection.describe(name)):
            raise _foreign(name)

    def close(self) -> None:
        """See `Engine.close`."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class _Settings:
    """A description, equal to another of the same settings: its counts differ from one moment to the next."""

    info: models.CollectionInfo

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self._settings == other._settings

    def __hash__(self) -> int:
        raise TypeError("descriptions are compared, not kept")

    @property
    def _settings(self) -> tuple[object, object]:
        return self.info.config, {field: index.data_type for field, index in self.info.payload_schema.items()}


def _foreign(name: str) -> CollectionStateError:
    return CollectionStateError(f"collection {name!r} was not made by keydistill; leave it to who made it")


def _exists(name: str) -> CollectionExistsError:
    return CollectionExistsError(f"collection or alias {name!r} exists already; choose another name")
