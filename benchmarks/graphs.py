"""Graphs and searches of the engine beside those of usearch, hnswlib and numpy, on the vectors of one collection.

All have graphs of 16 neighbours and 128 candidates while they are built, and as many threads. The engine's time is that
of the whole optimising step: it quantizes vectors and builds payload indexes, and edges for filters, which the peers do
not have.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index

from keydistill.encoders import Student, Vectors
from keydistill.retrieval import live_collection, read_items
from keydistill.settings import load_settings
from keydistill.tables import RejectLog
from keydistill.vectorstore import Engine, SearchParams, open_engine

_M, _EF_CONSTRUCT, _K, _TARGET = 16, 128, 10, 0.98
_QUERIES = 200
_EXPANSIONS = (16, 32, 64, 96, 128, 192, 256, 384, 512)

Ratios = list[tuple[float, float]]
Search = Callable[[Vectors], list[int]]


def vectors_of(engine: Engine, collection: str, dimension: int) -> tuple[list[str], Vectors]:
    """Ids and vectors of a collection."""
    vectors = np.empty((engine.count(collection), dimension), dtype=np.float32)
    ids = []
    for row, record in enumerate(engine.scroll(collection, with_vectors=True)):
        vectors[row] = record.vector
        ids.append(record.id)
    return ids, vectors


def graphs(home: Path, dimension: int, optimise_seconds: list[float]) -> dict[str, Ratios | str]:
    """Points per second of graph construction, ours and each peer's."""
    settings = load_settings(home=home)
    with closing(open_engine(settings)) as engine:
        _, matrix = vectors_of(engine, live_collection(settings, engine).name, dimension)
    lines: dict[str, Ratios | str] = {"graph: hnswlib": "not installed"}
    for name, make in _peers().items():
        pairs = []
        for seconds in optimise_seconds:
            began = time.perf_counter()
            make(matrix)
            pairs.append((len(matrix) / seconds, len(matrix) / (time.perf_counter() - began)))
        lines.pop(f"graph: {name}", None)
        lines[f"graph: {name}, points/s"] = pairs
    return lines


def searches(home: Path, items: Path, student: Student, repeats: int) -> dict[str, Ratios | str]:
    """Median milliseconds of one query without a filter, ours and each peer's, at the same recall@10 or better."""
    with RejectLog() as rejects:
        titles = [item.title for batch in read_items([items], rejects) for item in batch][:_QUERIES]
    queries = student.embed_items(titles)
    settings = load_settings(home=home)
    lines: dict[str, Ratios | str] = {"search: hnswlib": "not installed"}
    with closing(open_engine(settings)) as engine:
        name = live_collection(settings, engine).name
        ids, matrix = vectors_of(engine, name, student.dimension)
        best = [nearest(matrix, query) for query in queries]
        row_of = {id: row for row, id in enumerate(ids)}

        def ours(ef: int) -> Search:
            params = SearchParams(ef=ef, oversampling=settings.search_oversampling)
            return lambda query: [row_of[hit.id] for hit in engine.query(name, query, _K, None, params)]

        own = least_expansion(ours, queries, best)
        peers: dict[str, Search] = {}
        for peer, make in _peers().items():
            found = least_expansion(make(matrix), queries, best)
            peers[f"search: {peer}, {found.name}, ours {own.name}, ms"] = found.search
            lines.pop(f"search: {peer}", None)
        peers["search: numpy, exact, ms"] = lambda query: nearest(matrix, query)
        for line, search in peers.items():
            lines[line] = [(_median_ms(own.search, queries), _median_ms(search, queries)) for _ in range(repeats)]
    return lines


def _peers() -> dict[str, Callable[[Vectors], Callable[[int], Search]]]:
    """Functions that build a peer's index and return, for an expansion, its search."""
    peers: dict[str, Callable[[Vectors], Callable[[int], Search]]] = {"usearch": usearch}
    try:
        hnswlib = import_module("hnswlib")
    except ImportError:
        return peers

    def make(matrix: Vectors) -> Callable[[int], Search]:
        index = hnswlib.Index(space="ip", dim=matrix.shape[1])
        index.init_index(max_elements=len(matrix), ef_construction=_EF_CONSTRUCT, M=_M)
        index.add_items(matrix, num_threads=os.cpu_count())

        def search(expansion: int) -> Search:
            index.set_ef(expansion)
            return lambda query: list(index.knn_query(query, k=_K, num_threads=1)[0][0])

        return search

    return {**peers, "hnswlib": make}


def usearch(matrix: Vectors, threads: int | None = None) -> Callable[[int], Search]:
    """Build usearch's index, with all cores or fewer, and return, for an expansion, its search."""
    index = Index(ndim=matrix.shape[1], metric="ip", dtype="f32", connectivity=_M, expansion_add=_EF_CONSTRUCT)
    index.add(np.arange(len(matrix)), matrix, threads=threads or os.cpu_count() or 1)

    def search(expansion: int) -> Search:
        index.expansion_search = expansion  # type: ignore[misc]  # its stubs lack the setter
        return lambda query: index.search(query, _K).keys.tolist()

    return search


@dataclass(frozen=True, slots=True)
class Found:
    """A search, its expansion and its recall@10."""

    search: Search
    expansion: int
    recall: float

    @property
    def name(self) -> str:
        """What stands of it in a table."""
        return f"ef {self.expansion} ({self.recall:.3f})"


def least_expansion(make: Callable[[int], Search], queries: Vectors, best: Sequence[Sequence[int]]) -> Found:
    """The search with the least expansion that reaches the target, or with the largest one."""
    for expansion in _EXPANSIONS:
        search = make(expansion)
        recall = float(np.mean([len(set(search(q)) & set(b)) / _K for q, b in zip(queries, best, strict=True)]))
        if recall >= _TARGET:
            break
    return Found(search, expansion, recall)


def nearest(matrix: Vectors, query: Vectors) -> list[int]:
    """The rows with the ten largest products, best first."""
    scores = matrix @ query
    top = np.argpartition(-scores, _K)[:_K]
    ordered: list[int] = top[np.argsort(-scores[top])].tolist()
    return ordered


def _median_ms(search: Search, queries: Any) -> float:
    times = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        times.append(1_000 * (time.perf_counter() - began))
    return float(np.median(times))
