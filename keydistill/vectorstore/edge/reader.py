"""Queries and look-ups in embedded collections."""

from collections.abc import Iterator, Sequence

import numpy as np
import qdrant_edge as edge

from keydistill.errors import VectorStoreError
from keydistill.vectorstore.edge import translation as translate
from keydistill.vectorstore.edge.shards import Shards
from keydistill.vectorstore.engine import Hit, Record, SearchParams, Vectors
from keydistill.vectorstore.filters import Filter

# The binding keeps the interpreter's lock while it searches, half a millisecond a query: a service that searched for 32
# items in one call stood still for so long. Fewer at once cost more: 7% at four, 20% at one.
_QUERIES_AT_ONCE = 4
# Exact queries under one filter pass over the vectors together: sixteen at once take three quarters of the time that
# they take by fours, and a hundred six tenths. But leases wait for the lock, too: a second at a million points.
_EXACT_AT_ONCE = 16
_SCROLL_PAGE = 1_000


class EmbeddedReader:
    """The part of `Engine` that reads points."""

    def __init__(self, shards: Shards) -> None:
        """A reader of these shards."""
        self._shards = shards

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
        lists: list[list[Hit]] = []
        with self._shards.reading(f"querying {name!r}", name) as shard:
            step = _EXACT_AT_ONCE if params.exact else _QUERIES_AT_ONCE
            for start in range(0, len(requests), step):
                answers = shard.query_batch(edge.QueryBatchRequest(requests[start : start + step]))
                lists += [[translate.hit(point) for point in points] for points in answers]
        return lists

    def count(self, name: str, filter: Filter | None = None) -> int:
        """See `Engine.count`."""
        request = edge.CountRequest(exact=True, filter=translate.edge_filter(filter))
        with self._shards.reading(f"counting {name!r}", name) as shard:
            return shard.count(request)

    def scroll(self, name: str, filter: Filter | None = None, *, with_vectors: bool = False) -> Iterator[Record]:
        """See `Engine.scroll`."""
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=_SCROLL_PAGE,
                filter=translate.edge_filter(filter),
                with_payload=True,
                with_vector=with_vectors,
            )
            with self._shards.reading(f"scrolling {name!r}", name) as shard:
                page, offset = shard.scroll(request)
            yield from map(translate.record, page)
            if offset is None:
                return

    def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Record]:
        """See `Engine.retrieve`."""
        asked = translate.point_ids(list(ids))
        with self._shards.reading(f"reading points of {name!r}", name) as shard:
            points = shard.retrieve(asked, with_payload=True, with_vector=with_vectors)
        points_by_id = {str(point.id): point for point in points}
        return [translate.record(points_by_id[id]) for id in ids if id in points_by_id]
