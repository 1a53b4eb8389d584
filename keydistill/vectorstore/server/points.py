"""Points of collections on a Qdrant server: writing, querying and reading them within the collection's limits."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from qdrant_client import QdrantClient, models

from keydistill.errors import VectorStoreError
from keydistill.vectorstore.engine import Hit, Payload, PointBatch, Record, SearchParams, Vectors
from keydistill.vectorstore.filters import Filter
from keydistill.vectorstore.server import grpc_points
from keydistill.vectorstore.server import translation as translate
from keydistill.vectorstore.server.calls import Patience
from keydistill.vectorstore.server.connection import Connection
from keydistill.vectorstore.server.limits import Limits

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
_PAGE, _PAGE_WITH_VECTORS = 1_000, 250


class PointOperations:
    """The part of `ServerEngine` that writes, queries and reads points."""

    _client: QdrantClient
    _connection: Connection
    _timeout_seconds: int
    _query_patience: Patience

    def upsert(self, name: str, points: PointBatch) -> None:
        """See `Engine.upsert`."""
        if not np.isfinite(points.vectors).all():
            # They would leave as nulls: JSON has no other word for them.
            raise VectorStoreError(f"vectors for {name!r} hold values that are not finite; nothing was written")
        self._within_limits(name, lambda limits: self._upsert(name, points, limits))

    def _upsert(self, name: str, points: PointBatch, limits: Limits) -> None:
        most = limits.at_most(_POINTS_PER_REQUEST, "upsert_max_batchsize")
        doing = f"writing to {name!r}"
        if self._connection.speaks_grpc:
            for request in grpc_points.requests(name, points, _ORDERING, _REQUEST_BYTES, most):
                self._connection.write(doing, grpc_points.send, self._client, request, self._timeout_seconds)
            return
        for some in translate.request_batches(points, _REQUEST_BYTES, most):
            batch = translate.batch(some)
            self._connection.write(doing, self._client.upsert, name, batch, wait=True, ordering=_ORDERING)

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
