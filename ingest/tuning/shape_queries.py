"""The queries of one filter shape, and measuring search settings with them: their recall and their latency."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import Vectors
from keydistill.ingest.filters import K, by_filter, recalls, spread
from keydistill.ingest.tuning.queries import FilteredQuery
from keydistill.vectorstore import Engine, Hit, SearchParams

# Most queries of a shape that are timed one by one, and most filters whose passing points are counted.
_TIMED_QUERIES = 100
_COUNTED_FILTERS = 20
# Queries in one request; one request of all would hold them all in memory.
_BATCH = 64

Shares = NDArray[np.float64]


class ShapeQueries:
    """The queries of one filter shape that a collection has any answer to.

    Attributes:
        groups: The group of each query.
        items: Number of different items that the queries are for.
        exact_seconds: Seconds that exact search took for all queries together.
    """

    def __init__(self, engine: Engine, collection: str, vectors: Vectors, queries: Sequence[FilteredQuery]) -> None:
        """Queries and their exact answers. Those whose filter nothing passes can miss nothing, and are left out.

        Args:
            engine: Engine with the collection.
            collection: Name of the collection itself, not an alias.
            vectors: Vectors of all items, shape (n, dimension).
            queries: The queries of the shape.
        """
        self._engine, self._collection, self._vectors = engine, collection, vectors
        self._queries = list(queries)
        exact = SearchParams(exact=True)
        best, self.exact_seconds = self._answers(exact)
        self._queries = [query for query, hits in zip(queries, best, strict=True) if hits]
        self._best = [hits for hits in best if hits]
        self.groups = [query.group for query in self._queries]
        self.items = len({query.row for query in self._queries})

    def shares(self, params: SearchParams) -> tuple[Shares, float]:
        """The share that each query finds of its exact list, and the seconds that all took together."""
        answers, seconds = self._answers(params)
        return recalls(self._best, answers), seconds

    def milliseconds(self, params: SearchParams) -> Shares:
        """Latency of single queries, shape (at most 100,)."""
        milliseconds = []
        for query in spread(self._queries, _TIMED_QUERIES):
            began = time.perf_counter()
            self._engine.query(self._collection, self._vectors[query.row], K, query.filter, params)
            milliseconds.append(1_000 * (time.perf_counter() - began))
        return np.array(milliseconds, dtype=np.float64)

    def passing(self) -> int:
        """The median number of points that pass a filter of the shape."""
        filters = spread(list(dict.fromkeys(query.filter for query in self._queries)), _COUNTED_FILTERS)
        return int(np.median([self._engine.count(self._collection, filter) for filter in filters]))

    def _answers(self, params: SearchParams) -> tuple[list[list[Hit]], float]:
        began = time.perf_counter()
        filters = [query.filter for query in self._queries]

        def ask(places: list[int]) -> list[list[Hit]]:
            vectors = self._vectors[[self._queries[place].row for place in places]]
            asked = [filters[place] for place in places]
            return self._engine.query_batch(self._collection, vectors, K, asked, params)

        answers = by_filter(filters, ask, _BATCH)
        return answers, time.perf_counter() - began
