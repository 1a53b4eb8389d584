"""The server engine: collections on a Qdrant server, over REST or gRPC.

A collection's state, the spec that it was made with and the caller's metadata stand in the collection's own metadata on
the server, so that every process that reaches the server sees the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self
from uuid import uuid4

import numpy as np
from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from keydistill.errors import AliasChangedError, CollectionExistsError, CollectionStateError, VectorStoreError
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
)
from keydistill.vectorstore.filters import Filter
from keydistill.vectorstore.server import translation as translate
from keydistill.vectorstore.server.connection import Connection, connect
from keydistill.vectorstore.server.tls import TlsFiles

# Larger requests cost the server memory and are dear to repeat; its cap is 32 MB (`service.max_request_size_mb` in
# https://github.com/qdrant/qdrant/blob/master/config/config.yaml).
_REQUEST_BYTES = 5_000_000
_IDS_PER_REQUEST = 10_000
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
        backoff_seconds: float = 0.5,
        stall_seconds: float = 1_800.0,
        tls: TlsFiles | None = None,
    ) -> None:
        """Prepare a connection; nothing is sent before the first operation.

        Args:
            url: REST address. `https` turns TLS on, for gRPC too. `user:password@` is sent as basic authentication.
            api_key: Key that the server was started with.
            prefer_grpc: Speak gRPC where the client can.
            grpc_port: Port for it, on the same host.
            timeout_seconds: Limit for one request.
            retries: Most repeats of a request that failed for a transient reason.
            backoff_seconds: Pause before the first repeat; it doubles with each.
            stall_seconds: Longest time without any change while the server optimises; the whole may take any time.
            tls: Files of certificates, where the common ones are not enough.

        Raises:
            SettingsError: The address cannot be one.
        """
        connection = connect(
            url,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            grpc_port=grpc_port,
            timeout_seconds=timeout_seconds,
            retries=retries,
            backoff_seconds=backoff_seconds,
            tls=tls,
        )
        self._open(connection, stall_seconds)

    @classmethod
    def from_client(cls, client: QdrantClient, *, retries: int = 0, stall_seconds: float = 60.0) -> Self:
        """An engine on a client that exists, such as the local mode `QdrantClient(":memory:")`; `close` closes it."""
        engine = cls.__new__(cls)
        address = shown_address(client.init_options.get("url") or "local://memory")
        engine._open(Connection(client, address, retries=retries, backoff_seconds=0.5), stall_seconds)
        return engine

    def _open(self, connection: Connection, stall_seconds: float) -> None:
        self._connection = connection
        self._client = connection.client
        self._stall_seconds = stall_seconds

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
        if name in self.aliases():
            raise _exists(name)
        try:
            self._connection.call(
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
            if translate.token(self._connection.describe(name)) != token:
                raise _exists(name) from None
        self._connection.make_indexes(name, spec)

    def copy(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """Refused: a copy would have to travel point by point, and here nobody needs one; see `changes_in_place`."""
        raise VectorStoreError(
            f"copying {source!r} to {target!r}: a server changes collections in place; write to {source!r} itself"
        )

    def set_metadata(self, name: str, changes: Mapping[str, Any]) -> None:
        """See `Engine.set_metadata`."""
        translate.check_metadata_keys(changes)
        self._connection.require_collection(name)
        if changes:
            # The server merges key by key, and a null removes its key (https://github.com/qdrant/qdrant/pull/9907).
            self._connection.update(name, metadata=dict(changes))

    def upsert(self, name: str, points: PointBatch) -> None:
        """See `Engine.upsert`."""
        if not np.isfinite(points.vectors).all():
            # They would leave as nulls: JSON has no other word for them.
            raise VectorStoreError(f"vectors for {name!r} hold values that are not finite; nothing was written")
        for batch in translate.request_batches(points, _REQUEST_BYTES):
            self._connection.write(f"writing to {name!r}", self._client.upsert, name, batch, wait=True)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """See `Engine.delete`."""
        for some in translate.parts(translate.point_ids(ids), _IDS_PER_REQUEST):
            selector = models.PointIdsList(points=list(some))
            self._connection.write(f"deleting from {name!r}", self._client.delete, name, selector, wait=True)

    def set_payload(self, name: str, ids: Sequence[str], payload: Payload) -> None:
        """See `Engine.set_payload`."""
        for some in translate.parts(translate.point_ids(ids), _IDS_PER_REQUEST):
            self._connection.write(
                f"writing payload to {name!r}",
                self._client.set_payload,
                name,
                payload=payload,
                # Not a list: a list with an id that is not there is refused after some of it was done.
                points=translate.having_ids(some),
                wait=True,
            )

    def finish(self, name: str) -> None:
        """See `Engine.finish`. Called again after a failure, it goes on where the server is."""
        info = self._connection.describe(name)
        if translate.is_ready(info):
            return
        spec = translate.stored_spec(info)
        if spec is None:
            raise CollectionStateError(f"collection {name!r} was not made by keydistill; leave it to who made it")
        self._connection.make_indexes(name, spec)  # there already, unless a process died inside `create`
        self._connection.update(name, hnsw_config=models.HnswConfigDiff(m=spec.hnsw_m))
        self._connection.wait_until_optimized(name, self._stall_seconds)
        self._connection.update(name, metadata=translate.ready_metadata())

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
        params = params or SearchParams()
        filters = filters if filters is not None else [None] * len(vectors)
        requests = [
            translate.query_request(vector, limit, filter, params)
            for vector, filter in zip(vectors, filters, strict=True)
        ]
        hits: list[list[Hit]] = []
        for some in translate.parts(requests, translate.rows_per_request(vectors.shape[1], _REQUEST_BYTES)):
            answers = self._connection.call(f"querying {name!r}", self._client.query_batch_points, name, some)
            hits.extend([translate.hit(point) for point in answer.points] for answer in answers)
        return hits

    def count(self, name: str, filter: Filter | None = None) -> int:
        """See `Engine.count`."""
        conditions = translate.server_filter(filter)
        answer = self._connection.call(f"counting {name!r}", self._client.count, name, conditions, exact=True)
        return int(answer.count)

    def scroll(self, name: str, filter: Filter | None = None, *, with_vectors: bool = False) -> Iterator[Record]:
        """See `Engine.scroll`."""
        offset: models.ExtendedPointId | None = None
        while True:
            page, offset = self._connection.call(
                f"scrolling {name!r}",
                self._client.scroll,
                name,
                scroll_filter=translate.server_filter(filter),
                limit=_PAGE_WITH_VECTORS if with_vectors else _PAGE,
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
        info = self._connection.describe(name)
        return CollectionInfo(
            name=name,
            state="ready" if translate.is_ready(info) else "building",
            dimension=translate.dimension(info),
            points=self.count(name),  # the server's own numbers are approximate
            payload_indexes=translate.field_types(info),
            metadata=translate.caller_metadata(info),
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
        for alias, target in self.aliases().items():
            if target == name:
                raise CollectionStateError(
                    f"collection {name!r} is live behind alias {alias!r}; swap the alias before deleting it"
                )
        self._connection.require_collection(name)
        self._connection.call(f"deleting {name!r}", self._client.delete_collection, name)

    def aliases(self) -> dict[str, str]:
        """See `Engine.aliases`."""
        answer = self._connection.call("listing aliases", self._client.get_aliases)
        return {alias.alias_name: alias.collection_name for alias in answer.aliases}

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """See `Engine.swap_alias`.

        The server changes the alias atomically, but has no compare-and-set: between our look at the alias and our
        change somebody else may change it too. The caller's lock or lease on the alias closes that gap.
        """
        self._connection.require_collection(target)
        if not translate.is_ready(self._connection.describe(target)):
            raise CollectionStateError(f"collection {target!r} is still building; finish it before an alias names it")
        if alias in self._connection.collections():
            raise CollectionExistsError(f"{alias!r} is a collection and cannot be an alias too; rename one")
        present = self.aliases().get(alias)
        if present != expected:
            raise AliasChangedError(
                f"alias {alias!r} names {present!r}, expected {expected!r}: somebody else swapped it; look at "
                "`keydistill collections list`, then start again"
            )
        if guard is not None:
            guard()
        self._connection.call(
            f"pointing alias {alias!r} to {target!r}",
            self._client.update_collection_aliases,
            translate.alias_change(alias, target, present),
        )

    def close(self) -> None:
        """See `Engine.close`."""
        self._connection.close()


def _exists(name: str) -> CollectionExistsError:
    return CollectionExistsError(f"collection or alias {name!r} exists already; choose another name")
