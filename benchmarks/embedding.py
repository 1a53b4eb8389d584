"""Keyphrases per second of every runtime against `SentenceTransformer.encode`, and how well their answers agree.

    python -m benchmarks.embedding [--data FOLDER] [--student SOURCE] [--device cuda] [--quick] [--json FILE]

FOLDER holds real keyphrases (`keyphrases.parquet`, column `keyphrase`); without it they are simulated. Every repeat
measures all methods in turn on the same keyphrases, from text to normalised vector, so that what else the machine does
meets all of them. Ratios are those within a repeat: by the clock, and per second of CPU time, which holds on a machine
that others use too. `encode` gets the batch size with which it is fastest here.

Agreement is that with torch in fp32: the largest cosine distance, and the share of a keyphrase's 10 nearest neighbours
that stays. Beside the rates stands what the machine can do: GFLOP/s of a large matrix product, and the share of it
that a method reaches, counting the work of real tokens alone.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from benchmarks import report
from keydistill.encoders import Student, Vectors, find_model, nearest
from keydistill.encoders.runtime import RuntimeName
from keydistill.simulation import MarketplaceSettings, simulate

Embed = Callable[[Sequence[str]], Any]

_BATCH_SIZES = {"cpu": (32, 64, 128, 256), "cuda": (128, 256, 512, 1_024, 2_048)}
RUNTIMES: dict[str, tuple[RuntimeName, ...]] = {
    "cpu": ("torch", "numpy", "openvino-fp32", "openvino-bf16", "openvino-int8", "native-int8"),
    "cuda": ("torch", "torch-fp16"),
}
_ENCODE = "SentenceTransformer.encode"
_PRECISION: dict[str, str] = {
    _ENCODE: "fp32",
    "torch": "fp32",
    "numpy": "fp32",
    "torch-fp16": "fp16",
    "openvino-fp32": "fp32",
    "openvino-bf16": "bf16",
    "openvino-int8": "int8",
    "native-int8": "int8",
}
_QUERIES = 4_000


def main() -> None:
    """Load, measure in turn, compare, print."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder with keyphrases.parquet")
    parser.add_argument("--student", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--device", choices=sorted(RUNTIMES), default="cpu")
    parser.add_argument("--keyphrases", type=int, help="keyphrases per measurement  [default: 2000]")
    parser.add_argument("--pool", type=int, help="keyphrases among which neighbours are looked for  [default: all]")
    parser.add_argument("--repeats", type=int, help="[default: 7]")
    parser.add_argument("--threads", type=int, help="[default: one per core]")
    parser.add_argument("--cache", type=Path, help="where exported students are kept  [default: a temporary folder]")
    arguments = parser.parse_args()
    before = report.machine()
    with tempfile.TemporaryDirectory() as scratch:
        figures = run(arguments, arguments.cache or Path(scratch))
    _print(figures)
    report.write(arguments.json, figures, before)


def run(arguments: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """All figures."""
    quick = arguments.quick
    count = arguments.keyphrases or (200 if quick else 2_000)
    threads = arguments.threads or len(os.sched_getaffinity(0))
    most = arguments.pool or (1_000 if quick else 50_000)
    data = arguments.data
    texts = simulated_keyphrases(most) if data is None else _shuffled(data / "keyphrases.parquet", most)
    sample = texts[:: max(1, len(texts) // count)][:count]
    torch.set_num_threads(threads)
    device = arguments.device
    students = _students(arguments.student, device, threads, cache)
    encoder = SentenceTransformer(str(find_model(arguments.student)), device=device, local_files_only=True)
    size = best_batch_size(encoder, sample)
    methods: dict[str, Embed] = {
        _ENCODE: lambda texts: encoder.encode(list(texts), batch_size=size),
        **{name: student.embed_keyphrases for name, student in students.items()},
    }
    peaks: dict[str, list[float]] = {precision: [] for precision in {_PRECISION[name] for name in methods}}

    def note_peaks() -> None:
        for precision, values in peaks.items():
            values.append(_peak(precision, device))

    rates, per_cpu = rates_in_turn(
        {name: (embed, sample) for name, embed in methods.items()},
        arguments.repeats or (3 if quick else 7),
        after_each=note_peaks,
    )
    tokens = students["torch"].count_tokens(sample)
    work = _flops(encoder, tokens) / len(sample)
    return {
        "keyphrases": len(sample),
        "tokens_per_keyphrase": float(tokens.mean()),
        "pool": len(texts),
        "threads": threads,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "student": students["torch"].version,
        "encode_batch_size": size,
        "mflop_per_keyphrase": work / 1e6,
        "peak_gflops": {precision: report.spread(values) for precision, values in peaks.items()},
        "methods": {
            name: {
                "keyphrases_per_second": report.spread(values),
                "ratio": ratios(values, rates[_ENCODE]),
                "keyphrases_per_cpu_second": report.spread(per_cpu[name]),
                "cpu_ratio": ratios(per_cpu[name], per_cpu[_ENCODE]),
                # Medians on both sides: on a machine that others use, one product may meet a free moment.
                "share_of_peak": statistics.median(values) * work / 1e9 / statistics.median(peaks[_PRECISION[name]]),
            }
            for name, values in rates.items()
        },
        "agreement": _agreement(students, texts),
    }


def ratios(values: Sequence[float], peers: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest ratio of a method's measurements to another one's of the same repeats."""
    return report.spread([own / peer for own, peer in zip(values, peers, strict=True)])


def _students(source: str, device: str, threads: int, cache: Path) -> dict[str, Student]:
    loaded = [
        Student.load(source, device=device, threads=threads, runtime=name, cache=cache) for name in RUNTIMES[device]
    ]
    # Where a runtime cannot be used, another one took its place.
    return {student.runtime: student for student in loaded}


def simulated_keyphrases(most: int) -> list[str]:
    """At most so many distinct keyphrases of a simulated marketplace, in random order."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "market", MarketplaceSettings(items=300, keyphrases=most, seed=0))
        return _shuffled(Path(folder) / "market" / "inventory.parquet", most)


def _shuffled(file: Path, most: int) -> list[str]:
    table = pq.read_table(file, columns=["keyphrase"])
    texts = list(dict.fromkeys(table.column("keyphrase").to_pylist()))
    order = np.random.default_rng(0).permutation(len(texts))[:most]
    return [texts[place] for place in order]


def best_batch_size(encoder: SentenceTransformer, texts: Sequence[str]) -> int:
    """The batch size with which `encode` is fastest here."""
    few = list(texts[: max(100, len(texts) // 4)])
    encoder.encode(few)
    return max(
        _BATCH_SIZES[encoder.device.type],
        key=lambda size: max(
            rate_of(lambda given: encoder.encode(list(given), batch_size=size), few) for _ in range(2)
        ),
    )


def rates_in_turn(
    methods: Mapping[str, tuple[Embed, Sequence[str]]], repeats: int, after_each: Callable[[], None] = lambda: None
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Texts per second of every method in every repeat, by the clock and per second of CPU time.

    Args:
        methods: What embeds, and the texts that it gets.
        repeats: Rounds in which all methods are measured in turn; a first one, which allocates and compiles, does
            not count.
        after_each: Called after every round.
    """
    by_clock: dict[str, list[float]] = {name: [] for name in methods}
    by_cpu: dict[str, list[float]] = {name: [] for name in methods}
    for repeat in range(-1, repeats):
        for name, (embed, texts) in methods.items():
            began = time.process_time()
            rate = rate_of(embed, texts)
            spent = time.process_time() - began
            if repeat >= 0:
                by_clock[name].append(rate)
                by_cpu[name].append(len(texts) / spent)
        after_each()
    return by_clock, by_cpu


def rate_of(embed: Embed, texts: Sequence[str]) -> float:
    """Texts per second, by the clock."""
    began = time.perf_counter()
    embed(texts)
    return len(texts) / (time.perf_counter() - began)


def _peak(precision: str, device: str) -> float:
    """GFLOP/s (of int8, GOP/s) of a product of two square matrices in torch, the best of a few."""
    size = {"cpu": 1_024, "cuda": 8_192}[device]
    if precision == "int8":
        whole = [torch.randint(-127, 128, (size, size), dtype=torch.int8, device=device) for _ in range(2)]
        product: Callable[[], torch.Tensor] = partial(torch._int_mm, *whole)
    else:
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        product = partial(torch.matmul, *(torch.randn(size, size, device=device).to(kind) for _ in range(2)))
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        # Of a GPU, which goes on while it is asked for more: what is read back has been computed.
        product()[0, 0].item()
        best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return best


def _flops(encoder: SentenceTransformer, tokens: NDArray[np.int32]) -> float:
    """Work of linear layers and attention over texts of so many tokens; a multiplication and an addition are two."""
    transformer: Any = encoder[0]
    linear = sum(
        module.weight.numel()
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and "pooler" not in name
    )
    config = transformer.auto_model.config
    lengths = tokens.astype(np.float64)
    attention = 4 * config.num_hidden_layers * config.hidden_size * lengths**2
    return float((2 * linear * lengths + attention).sum())


def _agreement(students: dict[str, Student], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of each runtime with torch, over all keyphrases."""
    expected = students["torch"].embed_keyphrases(texts)
    queries = slice(0, min(_QUERIES, len(texts)))
    first = _neighbours(expected, queries)
    found = {}
    for name, student in students.items():
        vectors = expected if name == "torch" else student.embed_keyphrases(texts)
        own = _neighbours(vectors, queries)
        found[name] = {
            "max_cosine_distance": max(0.0, float((1 - (vectors.astype(np.float64) * expected).sum(axis=1)).max())),
            "mean_cosine": float((vectors.astype(np.float64) * expected).sum(axis=1).mean()),
            "top10_overlap": float(np.mean([len(a & b) / len(a) for a, b in zip(first, own, strict=True)])),
        }
    return found


def _neighbours(vectors: Vectors, queries: slice) -> list[set[int]]:
    """The 10 nearest of each query among all, itself left out; queries and keyphrases of one runtime."""
    places, _ = nearest(vectors[queries], vectors, 11)
    return [set([place for place in row if place != own][:10]) for own, row in enumerate(places.tolist())]


def _print(figures: dict[str, Any]) -> None:
    rows = []
    for name, method in figures["methods"].items():
        agreement = figures["agreement"].get(name)
        rate, ratio = method["keyphrases_per_second"], method["ratio"]
        rows.append(
            (
                name,
                f"{rate['median']:,.0f}",
                f"{ratio['median']:.2f}",
                f"{ratio['min']:.2f}-{ratio['max']:.2f}",
                f"{method['cpu_ratio']['median']:.2f}",
                f"{method['share_of_peak']:.0%}",
                f"{agreement['max_cosine_distance']:.1e}" if agreement else "",
                f"{agreement['top10_overlap']:.4f}" if agreement else "",
            )
        )
    report.table(
        ("method", "keyphrases/s", "ratio", "min-max", "per CPU second", "of peak", "max distance", "top-10 overlap"),
        rows,
    )
    peaks = ", ".join(f"{name} {peak['median']:,.0f}" for name, peak in sorted(figures["peak_gflops"].items()))
    print(
        f"{figures['keyphrases']:,} keyphrases of {figures['tokens_per_keyphrase']:.2f} tokens, "
        f"{figures['mflop_per_keyphrase']:.0f} MFLOP each; neighbours among {figures['pool']:,}; "
        f"encode in batches of {figures['encode_batch_size']}; peak in GFLOP/s: {peaks}"
    )


if __name__ == "__main__":
    main()
