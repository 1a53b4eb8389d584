"""The queries of one filter shape: what settings find of what exact search finds, and how long they take."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import Vectors
from keydistill.ingest.filters import K, shares_found, spread
from keydistill.ingest.tuning.queries import Asked
from keydistill.vectorstore import Engine, Hit, SearchParams

# Queries of a shape that are timed one by one, and filters whose passing points are counted.
_TIMED_QUERIES = 100
_COUNTED_FILTERS = 20
# Asked together; one request of all would hold them all in memory.
_BATCH = 64

Shares = NDArray[np.float64]


class ShapeQueries:
    """The queries of one shape against one collection; those that exact search answers.

    Attributes:
        groups: The group of each query.
        items: How many different items ask.
        exact_seconds: What exact search took for all of them together.
    """

    def __init__(self, engine: Engine, collection: str, vectors: Vectors, asked: Sequence[Asked]) -> None:
        """Ask exact search. Queries whose filter nothing passes can miss nothing, and are left out.

        Args:
            engine: Has the collection.
            collection: Its own name.
            vectors: Of all items, shape (n, dimension).
            asked: The queries of the shape.
        """
        self._engine, self._collection, self._vectors = engine, collection, vectors
        self._asked = list(asked)
        exact = SearchParams(exact=True)
        best, self.exact_seconds = self._answers(exact)
        self._asked = [one for one, hits in zip(asked, best, strict=True) if hits]
        self._best = [hits for hits in best if hits]
        self.groups = [one.group for one in self._asked]
        self.items = len({one.row for one in self._asked})

    def shares(self, params: SearchParams) -> tuple[Shares, float]:
        """The share that each query finds of its exact list, and the seconds that all took together."""
        found, seconds = self._answers(params)
        return shares_found(self._best, found), seconds

    def milliseconds(self, params: SearchParams) -> Shares:
        """Latency of single queries, shape (at most 100,)."""
        took = []
        for one in spread(self._asked, _TIMED_QUERIES):
            began = time.perf_counter()
            self._engine.query(self._collection, self._vectors[one.row], K, one.filter, params)
            took.append(1_000 * (time.perf_counter() - began))
        return np.array(took, dtype=np.float64)

    def passing(self) -> int:
        """Points that pass such a filter: the median."""
        filters = spread(list(dict.fromkeys(one.filter for one in self._asked)), _COUNTED_FILTERS)
        return int(np.median([self._engine.count(self._collection, filter) for filter in filters]))

    def _answers(self, params: SearchParams) -> tuple[list[list[Hit]], float]:
        answers: list[list[Hit]] = []
        began = time.perf_counter()
        for start in range(0, len(self._asked), _BATCH):
            some = self._asked[start : start + _BATCH]
            vectors = self._vectors[[one.row for one in some]]
            filters = [one.filter for one in some]
            answers += self._engine.query_batch(self._collection, vectors, K, filters, params)
        return answers, time.perf_counter() - began
