"""A large inventory through snapshot and reindex, then queries of every filter shape.

    python -m benchmarks.million [--keyphrases N] [--rebuilds] [--keep FOLDER] [--url URL] [--quick] [--json FILE]

Measured: rows per second of each step, peak memory of the command and of its optimising child, size on disk; for
each filter shape p50 and p99 of one query in the engine, and recall@10 against exact search; how long the embedded
collection takes to be opened, and another thread waits meanwhile. Peers in the same run:
`SentenceTransformer.encode` for embedding, numpy over all vectors for queries without a filter. With --rebuilds it is
built twice more after that: as it is, and with another graph, for which nothing but the vectors can be taken over.

With --keep a later call finds the collection there and measures only the queries, and a marketplace that lies there is
not simulated again. With --url it is built on a running Qdrant server, whose memory is not measured and whose size on
disk is an estimate.
"""

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sentence_transformers import SentenceTransformer

from benchmarks import engines, report
from benchmarks.embedding import rate_of
from benchmarks.watched import watched
from keydistill.encoders import Student, find_model
from keydistill.retrieval import Retriever, item_filter, read_items
from keydistill.settings import Settings, load_settings
from keydistill.tables import RejectLog
from keydistill.vectorstore import (
    Engine,
    Filter,
    SearchParams,
    Vectors,
    keyphrase_filter,
    open_engine,
    search_params_of,
)

_QUERIES = 200
_LIMIT = 10
# What is in force in each, beside what is anyway.
_REBUILDS: Mapping[str, dict[str, str]] = {"nothing changed": {}, "another graph": {"KEYDISTILL_HNSW_M": "24"}}


def main() -> None:
    """Simulate, build, query."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, default=1_000_000)
    parser.add_argument("--rebuilds", action="store_true", help="build again: as it is, and with another graph")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there and leave everything in it")
    engines.add_options(parser)
    arguments = parser.parse_args()
    count = 10_000 if arguments.quick else arguments.keyphrases
    before = report.machine()
    with (
        tempfile.TemporaryDirectory() as scratch,
        engines.on_engine(arguments.engine, arguments.url, arguments.keep),
    ):
        folder = arguments.keep or Path(scratch)
        figures: dict[str, Any] = {"keyphrases": count}
        if not (folder / "build.json").is_file():
            (folder / "build.json").write_text(json.dumps(build(folder, count)), encoding="utf-8")
        figures["build"] = json.loads((folder / "build.json").read_text(encoding="utf-8"))
        _print_build(figures["build"])
        settings = load_settings(home=folder / "home")
        engine = open_engine(settings)
        try:
            retriever = Retriever.open(settings, engine)
            figures["embedding"] = embedding(retriever.student, folder, 500 if arguments.quick else 2_000)
            figures["queries"] = queries(engine, retriever, folder, settings)
        finally:
            engine.close()
        _print_queries(figures)
        if settings.engine == "embedded":
            figures["opening"] = opening(settings)
            report.table(
                ("opening", "seconds", "longest wait of another thread, s"),
                [(name, f"{of['seconds']:.2f}", f"{of['wait']:.2f}") for name, of in figures["opening"].items()],
            )
        if arguments.rebuilds:
            figures["rebuilds"] = rebuilds(folder)
            report.table(
                ("reindex again", "seconds", *(steps := ("embedding", "building", "verifying", "gating"))),
                [
                    (name, f"{of['seconds']:.1f}", *(f"{of['steps'].get(step, 0):.1f}" for step in steps))
                    for name, of in figures["rebuilds"].items()
                ],
            )
    report.write(arguments.json, figures, before)


def build(folder: Path, count: int) -> dict[str, Any]:
    """Simulate and reindex by the product's own commands; memory is sampled five times a second."""
    home = ["--home", str(folder / "home")]
    market = folder / "marketplace"
    figures: dict[str, Any] = {}
    if not market.is_dir():
        simulated = watched(["simulate", str(market), "--items", "2000", "--keyphrases", str(count), "--seed", "0"], {})
        figures = {"simulate_seconds": simulated["seconds"], "simulate_peak_mb": _mb(simulated["peaks"])}
    reindexed = watched([*home, "reindex", str(market / "inventory.parquet"), "--json"], {})
    run = json.loads(reindexed["output"])
    return {
        **figures,
        "rows": run["rows"],
        "parts": run["parts"],
        "seconds": run["timings"],
        "reindex_seconds": reindexed["seconds"],
        "reindex_peak_mb": _mb(reindexed["peaks"]),
        "disk_bytes": run["report"]["disk_bytes"],
    }


def rebuilds(folder: Path) -> dict[str, dict[str, Any]]:
    """Reindexes of the same inventory: of nothing that changed, and of another graph."""
    reindex = ["--home", str(folder / "home"), "reindex", str(folder / "marketplace" / "inventory.parquet"), "--json"]
    done = {name: watched(reindex, changed) for name, changed in _REBUILDS.items()}
    return {
        name: {"seconds": each["seconds"], "steps": json.loads(each["output"])["timings"]}
        for name, each in done.items()
    }


def _mb(peaks: dict[str, int]) -> dict[str, float]:
    # Of 1,000 kB, as the kernel counts them.
    return {what: size / 1_024_000 for what, size in peaks.items()}


def embedding(student: Student, folder: Path, count: int) -> dict[str, Any]:
    """Keyphrases per second of ours and of `encode` at its best batch size, in turn, on an even choice."""
    keyphrases = pq.read_table(folder / "marketplace" / "inventory.parquet", columns=["keyphrase"])["keyphrase"]
    chosen = np.random.default_rng(0).choice(len(keyphrases), size=min(count, len(keyphrases)), replace=False)
    texts = [keyphrases[int(index)].as_py() for index in chosen]
    encoder = SentenceTransformer(str(find_model(student.source)), device="cpu", local_files_only=True)
    ours, peer = [], []
    for _ in range(3):
        ours.append(rate_of(student.embed_keyphrases, texts))
        peer.append(max(rate_of(partial(encoder.encode, batch_size=size), texts) for size in (64, 128)))
    ratios = [ours / peer for ours, peer in zip(ours, peer, strict=True)]
    return {"ours": report.spread(ours), "encode": report.spread(peer), "ratio": report.spread(ratios)}


def queries(engine: Engine, retriever: Retriever, folder: Path, settings: Settings) -> dict[str, Any]:
    """p50 and p99 in milliseconds and recall@10, per filter shape."""
    with RejectLog() as rejects:
        items = [item for batch in read_items([folder / "marketplace" / "items.parquet"], rejects) for item in batch]
    items = items[:_QUERIES]
    vectors = retriever.student.embed_items([item.title for item in items])
    volumes = pq.read_table(folder / "marketplace" / "inventory.parquet", columns=["search_volume"])["search_volume"]
    popular = int(np.percentile(volumes.to_numpy(), 75))
    shapes: dict[str, list[Filter]] = {
        "none": [keyphrase_filter() for _ in items],
        "leaf category": [keyphrase_filter(category=item.category) for item in items],
        "parent category": [
            keyphrase_filter(category=item.category.rpartition(" > ")[0] if item.category else None) for item in items
        ],
        "category, popular quarter": [
            keyphrase_filter(category=item.category, min_search_volume=popular) for item in items
        ],
        "site and category": [item_filter(item, match_category="leaf") for item in items],
    }
    params = search_params_of(settings)
    figures = {
        shape: _measure(engine, retriever.collection, vectors, filters, params) for shape, filters in shapes.items()
    }
    figures["numpy, no filter"] = _brute_force(engine, retriever.collection, vectors)
    return figures


def opening(settings: Settings) -> dict[str, dict[str, float]]:
    """Seconds that the live collection takes to be opened, and that another thread waits for the interpreter."""
    figures = {}
    for name, left_in_files in {"all read in": False, "left in files": True}.items():
        with closing(open_engine(settings, left_in_files=left_in_files)) as engine, _longest_wait() as longest:
            began = time.perf_counter()
            engine.count(settings.alias)
            seconds = time.perf_counter() - began
        figures[name] = {"seconds": seconds, "wait": longest[0]}
    return figures


@contextmanager
def _longest_wait() -> Iterator[list[float]]:
    longest, ended = [0.0], threading.Event()

    def look() -> None:
        before = time.perf_counter()
        is_over = False
        while not is_over:
            is_over = ended.wait(0.001)
            now = time.perf_counter()
            longest[0] = max(longest[0], now - before)
            before = now

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield longest
    finally:
        ended.set()
        watcher.join()


def _measure(
    engine: Engine, collection: str, vectors: Vectors, filters: Sequence[Filter], params: SearchParams
) -> dict[str, float]:
    seconds, recalls = [], []
    for vector, filter in zip(vectors[:20], filters, strict=False):
        engine.query(collection, vector, _LIMIT, filter, params)  # warms the pages that queries touch
    found = []
    for vector, filter in zip(vectors, filters, strict=True):
        began = time.perf_counter()
        found.append({hit.id for hit in engine.query(collection, vector, _LIMIT, filter, params)})
        seconds.append(time.perf_counter() - began)
    for vector, filter, ids in zip(vectors, filters, found, strict=True):
        exact = {hit.id for hit in engine.query(collection, vector, _LIMIT, filter, SearchParams(exact=True))}
        recalls.append(len(ids & exact) / len(exact) if exact else 1.0)
    passing = [engine.count(collection, filter) for filter in filters[:20]]
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "recall@10": float(np.mean(recalls)),
        "passing": float(np.median(passing)),
    }


def _brute_force(engine: Engine, collection: str, vectors: Vectors) -> dict[str, float]:
    """One query against all vectors with numpy, the peer without an index."""
    matrix = np.empty((engine.count(collection), vectors.shape[1]), dtype=np.float32)
    for row, record in enumerate(engine.scroll(collection, with_vectors=True)):
        matrix[row] = record.vector
    seconds = []
    for vector in vectors[:20]:
        began = time.perf_counter()
        scores = matrix @ vector
        nearest = np.argpartition(-scores, _LIMIT)[:_LIMIT]
        nearest[np.argsort(-scores[nearest])]
        seconds.append(time.perf_counter() - began)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {"p50_ms": float(p50), "p99_ms": float(p99), "recall@10": 1.0, "passing": float(len(matrix))}


def _print_build(build: dict[str, Any]) -> None:
    rows, seconds = build["rows"], build["seconds"]
    report.table(
        ("step", "seconds", "rows/s"),
        [
            (name, f"{took:.1f}", f"{rows / took:,.0f}")
            for name, took in (
                ("snapshot", seconds["snapshot"]),
                ("embed and upsert", seconds["embedding"]),
                ("optimise", seconds["building"]),
                ("verify", seconds["verifying"]),
                ("gate", seconds["gating"]),
                ("whole reindex", build["reindex_seconds"]),
            )
        ],
    )
    checks = seconds["verifying"] + seconds["gating"]
    larger = max(seconds["embedding"], seconds["building"])
    print(
        f"verify and gate are {checks / build['reindex_seconds']:.1%} of the reindex, which takes "
        f"{build['reindex_seconds'] / larger:.2f} times its longest step"
    )
    print(
        f"{rows:,} keyphrases; collection {build['disk_bytes'] / 1e6:,.0f} MB on disk; peak memory in MB: "
        + ", ".join(f"{what} {peak:,.0f}" for what, peak in build["reindex_peak_mb"].items())
        + "\n"
    )


def _print_queries(figures: dict[str, Any]) -> None:
    embedding = figures["embedding"]
    report.table(
        ("embedding", "keyphrases/s (median)", "min", "max"),
        [
            (name, *(f"{embedding[key][what]:,.0f}" for what in ("median", "min", "max")))
            for name, key in (("keydistill", "ours"), ("SentenceTransformer.encode", "encode"))
        ],
    )
    print(f"ratio {embedding['ratio']['median']:.2f}\n")
    report.table(
        ("filter shape", "passing (median)", "p50 ms", "p99 ms", "recall@10"),
        [
            (shape, f"{of['passing']:,.0f}", f"{of['p50_ms']:.2f}", f"{of['p99_ms']:.2f}", f"{of['recall@10']:.4f}")
            for shape, of in figures["queries"].items()
        ],
    )


if __name__ == "__main__":
    main()
