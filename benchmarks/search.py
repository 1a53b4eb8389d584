"""Search settings tuned per shape of filter: what they find and what they cost, before and after.

    python -m benchmarks.search [--keyphrases N] [--keep FOLDER] [--url URL] [--quick] [--json FILE]

A simulated marketplace is built by the product's own commands, on the embedded engine or on a server (`--url`), with
the base student (in the fastest runtime of this machine), and tuned with one half of its items. The other half, which
tuning never saw, is asked: recall@10 against exact search and latency in the engine of every shape, with the settings
of before and those of after in turn. Peers in the same run, without a filter: numpy over all vectors, and usearch's
HNSW at the least expansion that reaches the same recall. And what `recommend` takes for one item, beside one forward
pass and one search on their own.

With --keep a later call finds the collection there, as `benchmarks.million` leaves it as well, and tunes it again.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import engines, graphs, report
from benchmarks.command import keydistill
from keydistill.encoders import Vectors
from keydistill.ingest.filters.recall import K
from keydistill.ingest.gate.items import gate_items
from keydistill.ingest.gate.measures import embedded
from keydistill.ingest.snapshot import Snapshot
from keydistill.ingest.tuning.queries import queries_by_shape
from keydistill.ingest.tuning.shape_queries import ShapeQueries
from keydistill.retrieval import NO_FILTER, Generation, Retriever, filter_shape, item_filter, read_items
from keydistill.retrieval.tuned_search import params_for
from keydistill.runs import open_store
from keydistill.settings import Settings, load_settings
from keydistill.tables import RejectLog
from keydistill.vectorstore import Engine, SearchParams
from keydistill.vectorstore.factory import open_engine

_ITEMS = 2_000
_TARGET = 0.98
_REPEATS = 5
_PEER_QUERIES = 200


def main() -> None:
    """Build, tune, ask."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there and leave everything in it")
    engines.add_options(parser)
    arguments = parser.parse_args()
    count = 5_000 if arguments.quick else arguments.keyphrases
    before = report.machine()
    with (
        tempfile.TemporaryDirectory() as scratch,
        engines.on_engine(arguments.engine, arguments.url, arguments.keep),
    ):
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "build.json").is_file():
            (folder / "build.json").write_text(json.dumps(_build(folder, count)), encoding="utf-8")
        figures: dict[str, Any] = {"build": json.loads((folder / "build.json").read_text(encoding="utf-8"))}
        _halve_items(folder)
        tuned = _keydistill(folder, "tune", "--items", folder / "tune.parquet", "--recall", _TARGET, "--json")
        figures["tuning"] = json.loads(tuned)
        settings = load_settings(home=folder / "home", runtime="auto")
        engine = open_engine(settings)
        try:
            generation = Retriever.open(settings, engine).generation
            figures["shapes"] = _shapes(engine, generation, folder, settings)
            figures["peers"] = _peers(engine, generation, folder)
            figures["recommend"] = _recommend(generation, folder)
        finally:
            engine.close()
    _print(figures)
    report.write(arguments.json, figures, before)


def _build(folder: Path, count: int) -> dict[str, Any]:
    """The live collection."""
    market = folder / "marketplace"
    _keydistill(folder, "simulate", market, "--items", _ITEMS, "--keyphrases", count, "--seed", 0)
    run = json.loads(_keydistill(folder, "reindex", market / "inventory.parquet", "--json"))
    return {"run": run["id"], "rows": run["rows"], "seconds": run["timings"]}


def _halve_items(folder: Path) -> None:
    items = pq.read_table(folder / "marketplace" / "items.parquet")
    for name, first in (("tune", 0), ("ask", 1)):
        pq.write_table(items.take(list(range(first, len(items), 2))), folder / f"{name}.parquet")


def _keydistill(folder: Path, *arguments: object) -> str:
    return keydistill("--home", folder / "home", *arguments, KEYDISTILL_RUNTIME="auto")


def _shapes(engine: Engine, generation: Generation, folder: Path, settings: Settings) -> dict[str, Any]:
    """Each shape with the settings of before and of after, asked for by items that tuning never saw."""
    run_id = str(engine.info(generation.collection).metadata["snapshot_run"])
    snapshot = Snapshot.open(open_store(settings).folder(run_id) / "snapshot")
    asking = settings.model_copy(update={"gate_items": folder / "ask.parquet", "gate_sample": _ITEMS // 2})
    items = gate_items(asking, snapshot)
    vectors = embedded(generation.student, items.queries)
    found = {}
    for shape, asked in queries_by_shape(items).items():
        after = params_for(shape, K, generation.tuned, generation.params)
        shape_queries = ShapeQueries(engine, generation.collection, vectors, asked)
        if not shape_queries.groups:
            continue
        times: dict[str, list[Any]] = {"before": [], "after": []}
        params = {"before": generation.params, "after": after}
        for repeat in range(_REPEATS):
            for name in ("before", "after") if repeat % 2 else ("after", "before"):
                times[name].append(shape_queries.milliseconds(params[name]))
        found[shape] = {
            "passing": shape_queries.passing(),
            "queries": len(shape_queries.groups),
            "settings": _settings(after) if shape in generation.tuned else "not tuned",
            **{
                name: {"recall@10": float(shape_queries.shares(params[name])[0].mean())} | _latency(times[name])
                for name in times
            },
        }
    return found


def _latency(passes: Sequence[Any]) -> dict[str, float]:
    """Of several passes the median of medians, and the least p99: whatever else the machine does only adds."""
    return {
        "p50_ms": float(np.median([np.median(each) for each in passes])),
        "p99_ms": float(min(np.quantile(each, 0.99) for each in passes)),
    }


def _peers(engine: Engine, generation: Generation, folder: Path) -> dict[str, Any]:
    """Queries without a filter by us, by numpy over all vectors, and by usearch, in turn; one at a time."""
    titles, categories = _items(folder)[:2]
    queries = generation.student.embed_items(titles, categories)[:_PEER_QUERIES]
    _, matrix = graphs.vectors_of(engine, generation.collection, queries.shape[1])
    began = time.perf_counter()
    index = graphs.usearch(matrix, threads=1)
    built = time.perf_counter() - began
    found = graphs.least_expansion(index, queries, [graphs.nearest(matrix, query) for query in queries])
    tuned = params_for(NO_FILTER, K, generation.tuned, generation.params)
    ways: dict[str, Callable[[Vectors], object]] = {
        "keydistill, before": lambda query: engine.query(generation.collection, query, K, None, generation.params),
        "keydistill, tuned": lambda query: engine.query(generation.collection, query, K, None, tuned),
        "numpy, all vectors": lambda query: graphs.nearest(matrix, query),
        f"usearch, expansion {found.expansion}": found.search,
    }
    times: dict[str, list[Any]] = {name: [] for name in ways}
    for _ in range(_REPEATS):
        for name, ask in ways.items():
            times[name].append([_milliseconds(ask, query) for query in queries])
    latencies = {name: _latency(passes) for name, passes in times.items()}
    return {"usearch_recall@10": found.recall, "usearch_build_seconds": built, "latency": latencies}


def _milliseconds(ask: Callable[[Any], object], what: Any) -> float:
    began = time.perf_counter()
    ask(what)
    return 1_000 * (time.perf_counter() - began)


def _recommend(generation: Generation, folder: Path) -> dict[str, Any]:
    """One item by `recommend`, by its forward pass alone and by its search alone, in turn."""
    titles, categories, filters = _items(folder)
    times: dict[str, list[list[float]]] = {"recommend": [], "forward pass": [], "search": [], "shape of filter": []}
    for _ in range(_REPEATS):
        for passes in times.values():
            passes.append([])
        for title, category, filter in list(zip(titles, categories, filters, strict=True))[:_PEER_QUERIES]:
            whole = _milliseconds(lambda t: generation.recommend([t], K, [filter], categories=[category]), title)  # noqa: B023
            began = time.perf_counter()
            vector = generation.student.embed_items([title], [category])[0]
            embedded_at = time.perf_counter()
            params = params_for(filter_shape(filter), K, generation.tuned, generation.params)
            chosen_at = time.perf_counter()
            generation.engine.query(generation.collection, vector, K, filter, params)
            ended = time.perf_counter()
            times["recommend"][-1].append(whole)
            times["forward pass"][-1].append(1_000 * (embedded_at - began))
            times["shape of filter"][-1].append(1_000 * (chosen_at - embedded_at))
            times["search"][-1].append(1_000 * (ended - chosen_at))
    return {name: _latency(passes) for name, passes in times.items()}


def _items(folder: Path) -> tuple[list[str], list[str | None], list[Any]]:
    with RejectLog() as rejects:
        items = [item for batch in read_items([folder / "ask.parquet"], rejects) for item in batch]
    filters = [item_filter(item, match_category="leaf") for item in items]
    return [item.title for item in items], [item.category for item in items], filters


def _settings(params: SearchParams) -> str:
    if params.exact:
        return "exact"
    return f"ef {params.ef}, oversampling {params.oversampling:g}{', acorn' if params.acorn else ''}"


def _print(figures: dict[str, Any]) -> None:
    rows = figures["build"]["rows"]
    print(f"{rows:,} keyphrases; tuning took {figures['tuning']['seconds']:.1f} s\n")
    report.table(
        ("filter shape", "passing", "recall@10", "tuned", "p50 ms", "tuned", "p99 ms", "tuned", "settings"),
        [
            (
                shape,
                f"{of['passing']:,}",
                *(f"{of[when]['recall@10']:.4f}" for when in ("before", "after")),
                *(f"{of[when][what]:.2f}" for what in ("p50_ms", "p99_ms") for when in ("before", "after")),
                of["settings"],
            )
            for shape, of in figures["shapes"].items()
        ],
    )
    peers = figures["peers"]
    print(f"\nno filter; usearch's recall@10 {peers['usearch_recall@10']:.4f}")
    _print_latency(peers["latency"])
    print("\none item, filtered by site and leaf category")
    _print_latency(figures["recommend"])


def _print_latency(figures: dict[str, dict[str, float]]) -> None:
    rows = [(name, f"{of['p50_ms']:.3f}", f"{of['p99_ms']:.3f}") for name, of in figures.items()]
    report.table(("", "p50 ms", "p99 ms"), rows)


if __name__ == "__main__":
    main()
