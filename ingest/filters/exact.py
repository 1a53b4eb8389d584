"""Exact search of many queries under many filters: what approximate search is compared with."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from keydistill.encoders import Vectors
from keydistill.errors import VectorStoreError
from keydistill.ingest.filters.matching import passes
from keydistill.ingest.filters.recall import K
from keydistill.vectorstore import Engine, Filter, Hit, SearchParams

# Exact search looks at every point that passes, whatever the number of hits: where it has this many without a filter,
# the first K that pass a wide one are among them.
_DEPTH = 5 * K
_EXACT = SearchParams(exact=True)
# Most queries in one request: their answers are in memory together.
_MOST = 64

_Answer = TypeVar("_Answer")


def by_filter(
    filters: Sequence[Filter | None], ask: Callable[[list[int]], Sequence[_Answer]], most: int
) -> list[_Answer]:
    """The answer to each query, in batches of neighbours in the order of filters.

    An engine checks the filter of a batch once, and passes over the vectors once, where all its queries have the same.

    Args:
        filters: The filter of each query.
        ask: Function that answers the queries at these places.
        most: Most queries of a batch.
    """
    numbers = {filter: number for number, filter in enumerate(dict.fromkeys(filters))}
    places = sorted(range(len(filters)), key=lambda place: numbers[filters[place]])
    answers: dict[int, _Answer] = {}
    for start in range(0, len(places), most):
        batch = places[start : start + most]
        answers.update(zip(batch, ask(batch), strict=True))
    return [answers[place] for place in range(len(filters))]


class ExactSearch:
    """The K nearest points under filters, of items that are asked for with several filters.

    What was found for an item without a filter holds the answer under a filter that K of it pass, so that another pass
    over all points is saved.
    """

    def __init__(self, engine: Engine, collection: str, vectors: Vectors) -> None:
        """Exact search for items.

        Args:
            engine: Engine with the collection.
            collection: Name of the collection.
            vectors: Vectors of all items, shape (n, dimension).
        """
        self._engine, self._collection, self._vectors = engine, collection, vectors
        self._unfiltered: dict[int, list[Hit]] = {}
        self._depth = _DEPTH

    def lists(self, rows: Sequence[int], filters: Sequence[Filter | None]) -> list[list[Hit]]:
        """The K best hits of each query, best first.

        Args:
            rows: Row of the vector of each query.
            filters: The filter of each query.
        """
        lists = {place: hits for place, row in enumerate(rows) if (hits := self._known(row, filters[place]))}
        rest = [place for place in range(len(rows)) if place not in lists]

        def ask(batch: list[int]) -> list[list[Hit]]:
            places = [rest[place] for place in batch]
            asked = [filters[place] for place in places]
            vectors = self._vectors[[rows[place] for place in places]]

            def query(limit: int) -> list[list[Hit]]:
                return self._engine.query_batch(self._collection, vectors, limit, asked, _EXACT)

            if self._depth > K and not all(asked):
                try:
                    return query(self._depth)
                except VectorStoreError:
                    # A server may allow fewer hits; whatever else is wrong shows below.
                    self._depth = K
            return query(K)

        for place, hits in zip(rest, by_filter([filters[place] for place in rest], ask, _MOST), strict=True):
            if not filters[place]:
                self._unfiltered[rows[place]] = hits
            lists[place] = hits[:K]
        return [lists[place] for place in range(len(rows))]

    def _known(self, row: int, filter: Filter | None) -> list[Hit] | None:
        passing = [hit for hit in self._unfiltered.get(row, ()) if passes(hit.payload, filter)]
        return passing[:K] if len(passing) >= K else None
