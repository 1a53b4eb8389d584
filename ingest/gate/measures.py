"""Measuring one side of the gate: a collection, queried with the student that built it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keydistill.encoders import Student, Vectors
from keydistill.ingest.filters import SHAPES, ExactSearch, FilterShape, K, Query, recalls, spread
from keydistill.ingest.gate.items import GateItems
from keydistill.progress import Progress
from keydistill.vectorstore import Engine, Filter, Hit, SearchParams, keyphrase_filter

# Hits to fetch beyond K where the query's own text is left out, which other sites may have, too.
_SPARE = 6
# Exact search compares with every point; this many queries per shape measure recall to one in a hundred.
_RECALL_QUERIES = 100
_TIMED_QUERIES = 100
_REPEATS = 5

# Filters of `keydistill recommend`: those of its defaults, and those of --match-category leaf.
LISTS: Mapping[str, Callable[[Query], Filter | None]] = {
    "as recommended": lambda query: keyphrase_filter(site=query.site),
    "in the leaf category": lambda query: (
        keyphrase_filter(site=query.site, category=query.leaf) if query.leaf is not None else None
    ),
}


@dataclass(frozen=True, slots=True)
class Side:
    """A collection and its student, loaded."""

    collection: str
    student: Student

    @property
    def dimension(self) -> int:
        """Dimension of the collection's vectors."""
        return self.student.dimension


@dataclass(frozen=True, slots=True)
class Short:
    """Share of queries with fewer than K results, and of those for which the collection holds no K."""

    share: float
    unavoidable: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one side.

    Attributes:
        lists: K hits per query, filtered by its site, without its own text.
        short: Names of `LISTS`, each with its share of short answers; lists that no query asks for are left out.
        recall: Names of filter shapes, each with its recall@K against exact search; shapes that no query has are left
            out.
        p99_ms: 99th percentile of the latency of single queries in milliseconds, one per repeat.
    """

    lists: tuple[tuple[Hit, ...], ...]
    short: Mapping[str, Short]
    recall: Mapping[str, float]
    p99_ms: tuple[float, ...]


def measure(
    engine: Engine, sides: Sequence[Side], items: GateItems, params: SearchParams, progress: Progress
) -> list[Measured]:
    """Measure every side with the same queries, timed in turns, so that a busy machine slows all alike.

    Args:
        engine: Engine with the collections.
        sides: The candidate and, where there is one, the live collection.
        items: The queries.
        params: Search settings of serving.
        progress: Advanced by the number of queries answered.
    """
    vectors = [embedded(side.student, items.queries) for side in sides]
    for side, vector in zip(sides, vectors, strict=True):
        _p99_ms(engine, side, vector[:1], items.queries[:1], params)  # the first query opens the collection
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(_REPEATS):
        for place, side in enumerate(sides):
            times[place].append(_p99_ms(engine, side, vectors[place], items.queries, params))
            progress.advance(min(_TIMED_QUERIES, len(items.queries)))
    measured_sides = []
    for side, vector, p99_ms in zip(sides, vectors, times, strict=True):
        lists, short = _lists(engine, side, vector, items, params)
        progress.advance(len(items.queries))
        recall = {}
        exact = ExactSearch(engine, side.collection, vector)
        for shape in SHAPES:
            measured = _recall(engine, side, vector, items, shape, params, exact)
            if measured is not None:
                recall[shape.name] = measured
            progress.advance(min(_RECALL_QUERIES, len(items.queries)))
        measured_sides.append(Measured(lists, short, recall, tuple(p99_ms)))
    return measured_sides


def steps(sides: int, queries: int) -> int:
    """The number of queries that `measure` makes, for a progress bar."""
    timed, exact = min(_TIMED_QUERIES, queries), min(_RECALL_QUERIES, queries)
    return sides * (_REPEATS * timed + queries + len(SHAPES) * exact)


def embedded(student: Student, queries: Sequence[Query]) -> Vectors:
    """Vectors of the queries, embedded as items, shape (n, dimension)."""
    titles, categories = [query.text for query in queries], [query.leaf for query in queries]
    return student.embed_items(titles, categories, fields=[query.fields for query in queries])


def _lists(
    engine: Engine, side: Side, vectors: Vectors, items: GateItems, params: SearchParams
) -> tuple[tuple[tuple[Hit, ...], ...], dict[str, Short]]:
    lists: tuple[tuple[Hit, ...], ...] = ()
    short: dict[str, Short] = {}
    counts: dict[Filter, int] = {}
    for name, filter_of in LISTS.items():
        filters = [filter_of(query) for query in items.queries]
        places = [place for place, filter in enumerate(filters) if filter is not None]
        if not places:
            continue
        used = [filter for filter in filters if filter is not None]
        for filter in dict.fromkeys(used):
            if filter not in counts:
                counts[filter] = engine.count(side.collection, filter)
        limit = K if items.from_file else K + _SPARE
        hits = engine.query_batch(side.collection, vectors[places], limit, used, params)
        short[name] = Short(
            float(np.mean([len(each) < K for each in hits])), float(np.mean([counts[filter] < K for filter in used]))
        )
        if not lists:
            lists = tuple(
                _without_own(items.queries[place], each, items.from_file)
                for place, each in zip(places, hits, strict=True)
            )
    return lists, short


def _without_own(query: Query, hits: Sequence[Hit], from_file: bool) -> tuple[Hit, ...]:
    return tuple(hit for hit in hits if from_file or hit.payload.get("keyphrase") != query.text)[:K]


def _recall(
    engine: Engine,
    side: Side,
    vectors: Vectors,
    items: GateItems,
    shape: FilterShape,
    params: SearchParams,
    exact: ExactSearch,
) -> float | None:
    """Mean recall@K against exact search under a filter shape; None where no query has what the shape filters by."""
    filtered = [
        (place, filter)
        for place, query in enumerate(items.queries)
        if (filter := shape.filter(query, items.min_volume)) is not None
    ]
    filtered = spread(filtered, _RECALL_QUERIES)
    if not filtered:
        return None
    places, filters = [place for place, _ in filtered], [filter for _, filter in filtered]
    approximate = engine.query_batch(side.collection, vectors[places], K, filters, params)
    recall = recalls(exact.lists(places, filters), approximate)
    # Where nothing passes a filter, nothing can be missed.
    return float(recall.mean()) if len(recall) else 1.0


def _p99_ms(engine: Engine, side: Side, vectors: Vectors, queries: Sequence[Query], params: SearchParams) -> float:
    milliseconds = [0.0]
    for vector, query in zip(vectors[:_TIMED_QUERIES], queries[:_TIMED_QUERIES], strict=True):
        began = time.perf_counter()
        engine.query(side.collection, vector, K, keyphrase_filter(site=query.site), params)
        milliseconds.append(1_000 * (time.perf_counter() - began))
    return float(np.quantile(milliseconds, 0.99))
