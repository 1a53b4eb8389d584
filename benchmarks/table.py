"""One table of this machine: what the product does, and how many times as fast a named peer does it in the same run.

    python -m benchmarks.table [--keyphrases N ...] [--student SOURCE] [--runtime NAME] [--repeats N]
        [--fastembed FOLDER] [--quick] [--json FILE]

Peers: `SentenceTransformer.encode` with `QdrantClient.upload_points` for the build, `encode` and fastembed for
embedding, usearch and hnswlib for graph and search at the same recall, numpy for exact search. hnswlib and fastembed
are optional (`pip install hnswlib fastembed`); fastembed needs a folder with `model.onnx` and a tokenizer as well, as
it would fetch them from a hub otherwise. Product and peer are measured in turn, and a ratio is the median of those
within a repeat.

Below stands what one keyphrase costs in each step at each size, and what a first build and a search take where nothing
is set at all. The peers are compared at the largest size; `encode` and the like get a choice of its keyphrases.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sentence_transformers import SentenceTransformer

from benchmarks import build, report
from benchmarks.command import keydistill
from benchmarks.embedding import best_batch_size, rate_of
from benchmarks.graphs import graphs, searches
from keydistill.encoders import Student, find_model

_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_EMBEDDED = 2_000
# Steps of a build, by the states in which a run does them.
_STEPS = {
    "snapshot": "snapshot",
    "embedding": "embed and write",
    "building": "graph",
    "verifying": "verify",
    "gating": "gate",
}

Ratios = list[tuple[float, float]]


def main() -> None:
    """Build at every size, compare, print."""
    arguments = _arguments()
    sizes = [2_000] if arguments.quick else sorted(arguments.keyphrases)
    repeats = 1 if arguments.quick else arguments.repeats
    before = report.machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        named = {"KEYDISTILL_STUDENT": arguments.student, "KEYDISTILL_RUNTIME": arguments.runtime}
        inventories = {size: build.simulated(folder / str(size), size) for size in sizes}
        runtimes = folder / "runtimes"
        runtimes.mkdir()
        builds: dict[int, list[dict[str, Any]]] = {}
        for size in sizes:
            builds[size] = [
                _build(folder / str(size) / f"home-{number}", inventories[size], named, runtimes)
                for number in range(repeats)
            ]
        largest = folder / str(sizes[-1])
        texts = pq.read_table(inventories[sizes[-1]], columns=["keyphrase"])["keyphrase"].to_pylist()
        chosen = texts[:: max(1, len(texts) // _EMBEDDED)][:_EMBEDDED]
        student = Student.load(arguments.student, runtime=_runtime(builds[sizes[-1]][0]), cache=runtimes)
        embed_and_write = [len(texts) / each["timings"]["embedding"] for each in builds[sizes[-1]]]
        peer_builds = build.encode_and_upload(chosen, repeats)
        lines = {
            "build: encode + upload_points, keyphrases/s": list(zip(embed_and_write, peer_builds, strict=True)),
            **_embedding(student, chosen, repeats, arguments.fastembed),
            **graphs(
                largest / "home-0", student.dimension, [each["timings"]["building"] for each in builds[sizes[-1]]]
            ),
            **searches(largest / "home-0", inventories[sizes[-1]].with_name("items.parquet"), student, repeats),
        }
        unset = _unset(folder / "unset", inventories[sizes[0]])
    costs = {size: _costs(runs) for size, runs in builds.items()}
    _print(lines, costs, unset, sizes)
    figures = {
        name: value if isinstance(value, str) else [list(pair) for pair in value] for name, value in lines.items()
    }
    report.write(arguments.json, {"lines": figures, "costs": costs, "unset": unset}, before)


def _arguments() -> argparse.Namespace:
    parser = report.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--keyphrases", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--student", default=_BASE)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fastembed", type=Path, metavar="FOLDER", help="ONNX files of the base model for fastembed")
    return parser.parse_args()


def _build(home: Path, inventory: Path, named: Mapping[str, str], runtimes: Path) -> dict[str, Any]:
    """The run of a first build, with the seconds of the whole command; a student is exported but once."""
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "runtimes").symlink_to(runtimes)
    began = time.perf_counter()
    run: dict[str, Any] = json.loads(
        keydistill(
            *("--home", home, "reindex", inventory, "--json"),
            # An untrained student is measured, too: the gate's figures are not what this is about.
            **{f"KEYDISTILL_GATE_{name}": "0" for name in ("MIN_RECALL", "MIN_COVERAGE", "MIN_RELEVANT")},
            **named,
        )
    )
    return {**run, "seconds": time.perf_counter() - began}


def _runtime(run: Mapping[str, Any]) -> Any:
    """The runtime that verified the run: what `auto` chose."""
    return str(run["report"]["runtime"]).partition(":")[0]


def _embedding(student: Student, texts: Sequence[str], repeats: int, onnx: Path | None) -> dict[str, Ratios | str]:
    encoder = SentenceTransformer(str(find_model(student.source)), device="cpu", local_files_only=True)
    size = best_batch_size(encoder, texts)
    peers: dict[str, Callable[[Sequence[str]], Any]] = {
        "embedding: encode of the same student, texts/s": lambda given: encoder.encode(list(given), batch_size=size)
    }
    lines: dict[str, Ratios | str] = {}
    fast = _fastembed(onnx)
    if isinstance(fast, str):
        lines["embedding: fastembed"] = fast
    else:
        peers["embedding: fastembed of the base student, texts/s"] = fast
    for name, embed in peers.items():
        lines[name] = [(rate_of(student.embed_keyphrases, texts), rate_of(embed, texts)) for _ in range(repeats)]
    return lines


def _fastembed(folder: Path | None) -> Callable[[Sequence[str]], Any] | str:
    try:
        from importlib import import_module

        fastembed = import_module("fastembed")
    except ImportError:
        return "not installed"
    if folder is None:
        return "not measured: no ONNX files given"
    sources = import_module("fastembed.common.model_description")
    fastembed.TextEmbedding.add_custom_model(
        model="local",
        pooling=sources.PoolingType.MEAN,
        normalization=True,
        sources=sources.ModelSource(url="file://local"),
        dim=384,
        model_file="model.onnx",
    )
    model = fastembed.TextEmbedding("local", specific_model_path=str(folder), threads=os.cpu_count())
    return lambda texts: list(model.embed(list(texts), batch_size=64))


def _unset(home: Path, inventory: Path) -> dict[str, float]:
    """A first build and a search, of a user who sets nothing: seconds of the commands, the start of Python included."""
    began = time.perf_counter()
    keydistill("--home", home, "reindex", inventory, "--json")
    built = time.perf_counter()
    keydistill("--home", home, "search", "red running shoes", "--json")
    return {"reindex": built - began, "search": time.perf_counter() - built}


def _costs(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Microseconds per keyphrase of each step and of the whole command; medians of the repeats."""
    rows = runs[0]["rows"]
    costs = {
        name: 1e6 * statistics.median(run["timings"].get(state, 0.0) for run in runs) / rows
        for state, name in _STEPS.items()
    }
    return {**costs, "whole command": 1e6 * statistics.median(run["seconds"] for run in runs) / rows}


def _print(
    lines: Mapping[str, Ratios | str],
    costs: Mapping[int, Mapping[str, float]],
    unset: Mapping[str, float],
    sizes: list[int],
) -> None:
    rows: list[tuple[str, ...]] = []
    for name, pairs in lines.items():
        if isinstance(pairs, str):
            rows.append((name, "-", "-", pairs))
            continue
        ours, peers = (statistics.median(each) for each in zip(*pairs, strict=True))
        # Of times the smaller is the better one.
        ratio = statistics.median(peer / own if name.endswith("ms") else own / peer for own, peer in pairs)
        rows.append((name, f"{ours:,.4g}", f"{peers:,.4g}", f"{ratio:.2f}"))
    report.table(("peer", "keydistill", "peer", "ratio"), rows)
    print("\nmicroseconds per keyphrase")
    names = list(costs[sizes[0]])
    report.table(
        ("keyphrases", *names), [(f"{size:,}", *(f"{costs[size][name]:,.1f}" for name in names)) for size in sizes]
    )
    reindex, search = unset["reindex"], unset["search"]
    print(f"\nno setting at all, {sizes[0]:,} keyphrases: reindex {reindex:.1f} s, then a search {search:.1f} s")


if __name__ == "__main__":
    main()
