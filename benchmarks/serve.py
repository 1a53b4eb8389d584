"""The HTTP service under load, beside its floor and a peer; overload; memory; swaps and killed processes.

    python -m benchmarks.serve [PART ...] [--keyphrases N] [--processes N] [--rounds N] [--keep FOLDER] [--quick]
                               [--json FILE]

A simulated marketplace, and two students of untrained weights that are rounded for int8: the three-layer one that
serves, and another that takes its place in swaps. Each builds a collection by the product's own commands, on the
embedded engine, in the fastest runtime of this machine. Untrained students recommend badly, as fast as trained ones.

`load`: a driver in a process of its own asks over loopback, one item a request, filtered by its site: at 1, 16 and 64
clients, then twice as many requests a second as 64 clients got answered. Its time is split by what the service says in
`Server-Timing`: waiting, embedding, search, and the rest, which is HTTP, JSON and the driver. Beside it, in one process
and without HTTP: one embedding alone and one search alone, and batches of 32 items. All of it in several rounds.

`memory`: that of the service after some thousand requests, and after many more.

`peer`: `benchmarks.serve_peer` on the REST front of the tests, which stands in for a Qdrant server with the same
vectors in the same engine. Its own logs are off, ours are on.

`swaps`, `front`: clients of `keydistill.client` check every answer against what the library finds with the generation
that it names, while the alias moves to and fro and service processes, or the server of the engine, are killed.
"""

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, serve_swaps
from benchmarks.http_load import load
from benchmarks.serve_world import RUNTIME, World, build, peer_at, resident_mb, service_at
from keydistill.retrieval import Generation, Item, Retriever, item_filter
from keydistill.settings import load_settings
from keydistill.vectorstore.factory import open_engine

_CLIENTS = (1, 16, 64)
_OVERLOAD = "twice the capacity"
_LIMIT = 10
_BATCH = 32
# Requests from which on memory should not grow any more.
_WARM_REQUESTS = 10_000


def main() -> None:
    """Build, ask, print."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; without any, all of them")
    parser.add_argument("--keyphrases", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=1, help="processes of the service under load")
    parser.add_argument("--rounds", type=int, default=3, help="times that each load is measured, in turn")
    parser.add_argument("--seconds", type=float, default=10.0, help="time of each load")
    parser.add_argument("--requests", type=int, default=200_000, help="requests after which memory is compared")
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there and leave everything in it")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; expected some of {', '.join(_PARTS)}")
    if arguments.quick:
        arguments.keyphrases, arguments.seconds, arguments.requests, arguments.swaps = 2_000, 2.0, 2_000, 6
    before = report.machine()
    figures: dict[str, Any] = {"keyphrases": arguments.keyphrases, "processes": arguments.processes}
    with tempfile.TemporaryDirectory() as scratch:
        world = build(arguments.keep or Path(scratch), arguments.keyphrases)
        print(f"{arguments.keyphrases:,} keyphrases")
        for part in arguments.parts or _PARTS:
            figures[part] = _PARTS[part](world, arguments)
        shutil.rmtree(world.folder / "front", ignore_errors=True)
    report.write(arguments.json, figures, before)
    faults = sum(figures.get(part, {}).get(kind, 0) for part in ("swaps", "front") for kind in ("errors", "mixed"))
    faults += sum(each["429_without_retry_after"] for each in figures.get("load", {}).get(_OVERLOAD, ()))
    sys.exit(int(bool(faults)))


def _load(world: World, arguments: argparse.Namespace) -> dict[str, Any]:
    """The floor, the service at each number of clients, and at twice its capacity."""
    figures: dict[str, Any] = {f"{clients} clients": [] for clients in _CLIENTS} | {_OVERLOAD: []}
    floors = []
    engine = open_engine(load_settings(home=world.home))
    generation = Retriever.open(load_settings(home=world.home, runtime=RUNTIME), engine).generation
    try:
        with service_at(world, "--processes", arguments.processes) as service:
            # The first requests pay for what is read in on demand.
            load(world.bodies, service.url, seconds=2, clients=16)
            for _ in range(arguments.rounds):
                floors.append(_floor(generation, world))
                for clients in _CLIENTS:
                    at = load(world.bodies, service.url, seconds=arguments.seconds, clients=clients)
                    figures[f"{clients} clients"].append(at)
                rate = 2 * at["requests_per_second"]
                figures[_OVERLOAD].append(load(world.bodies, service.url, seconds=arguments.seconds, rate=rate))
            ready = service.seconds_to_ready
            status = service.end(signal.SIGTERM)
    finally:
        engine.close()
    one, most, over = figures["1 clients"], figures["64 clients"], figures[_OVERLOAD]
    ratios = {
        "own share at 1 client, ms": [each["rest_ms"] + each["wait_ms"] for each in one],
        "of the library's items/s at 64 clients": [
            each["requests_per_second"] / floor["items_per_second"] for each, floor in zip(most, floors, strict=True)
        ],
        "p99 at twice the capacity, times that at it": [
            each["p99_ms"] / at["p99_ms"] for each, at in zip(over, most, strict=True)
        ],
    }
    spreads = {name: report.spread(values) for name, values in ratios.items()}
    floor = {name: statistics.median(each[name] for each in floors) for name in floors[0]}
    print(f"ready after {ready:.2f} s, status {status} after SIGTERM")
    print(f"library: embedding {floor['embed_ms']:.2f} ms, search {floor['search_ms']:.2f} ms, ", end="")
    print(f"{floor['items_per_second']:,.0f} items/s in batches of {_BATCH}\n")
    _print_loads(figures)
    _print_ratios(spreads)
    return {**figures, "library": floors, "seconds_to_ready": ready, "status_after_sigterm": status, "ratios": spreads}


def _floor(generation: Generation, world: World) -> dict[str, float]:
    """What one process makes of single items and of batches, without HTTP."""
    items = [(item["title"], item_filter(Item("", item["title"], None, item["site"]))) for item in world.items]
    embed, search = [], []
    for title, filter in items[:500]:
        began = time.perf_counter()
        vectors = generation.embed([title])
        embedded = time.perf_counter()
        generation.query(vectors, _LIMIT, [filter])
        embed.append(1_000 * (embedded - began))
        search.append(1_000 * (time.perf_counter() - embedded))
    began = time.perf_counter()
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        generation.recommend([title for title, _ in batch], _LIMIT, [filter for _, filter in batch])
    rate = len(items) / (time.perf_counter() - began)
    return {
        "embed_ms": statistics.median(embed),
        "search_ms": statistics.median(search),
        "items_per_second": rate,
    }


def _memory(world: World, arguments: argparse.Namespace) -> dict[str, float]:
    """Memory after some thousand requests of an overload, and after all: 64 clients, and the same overload at the end.

    An overload opens connections by the hundred, and what those took is kept for the next ones.
    """
    early = min(_WARM_REQUESTS, arguments.requests // 2)
    with service_at(world, "--processes", arguments.processes) as service:
        first = load(world.bodies, service.url, seconds=2, clients=64)
        sent, rate = sum(first["statuses"].values()), first["requests_per_second"]
        overload = {"rate": 4 * rate}
        after = []
        for until, how in (
            (early, overload),
            (arguments.requests - early, {"clients": 64}),
            (arguments.requests, overload),
        ):
            while sent < until:
                seconds = max(1.0, min(60.0, (until - sent) / how.get("rate", rate)))
                sent += sum(load(world.bodies, service.url, seconds=seconds, **how)["statuses"].values())
            after.append((sent, resident_mb(service)))
    (early, early_mb), _, (late, late_mb) = after
    print(f"\nmemory after {early:,} requests {early_mb:.0f} MB, after {late:,} {late_mb:.0f} MB")
    return {"early_requests": early, "early_mb": early_mb, "late_requests": late, "late_mb": late_mb}


def _peer(world: World, arguments: argparse.Namespace) -> dict[str, Any]:
    """The peer and the service in turn, at 16 clients."""
    figures: dict[str, list[dict[str, Any]]] = {"peer, 16 clients": [], "16 clients": []}
    with peer_at(world) as peer, service_at(world, "--processes", arguments.processes) as service:
        for url in (peer, service.url):
            load(world.bodies, url, seconds=2, clients=16)
        for _ in range(arguments.rounds):
            for name, url in zip(figures, (peer, service.url), strict=True):
                figures[name].append(load(world.bodies, url, seconds=arguments.seconds, clients=16))
    ratios = [
        ours["requests_per_second"] / theirs["requests_per_second"]
        for theirs, ours in zip(*figures.values(), strict=True)
    ]
    spreads = {"of the peer's requests/s at 16 clients": report.spread(ratios)}
    _print_loads(figures)
    _print_ratios(spreads)
    return {**figures, "ratios": spreads}


def _swaps(world: World, arguments: argparse.Namespace) -> dict[str, Any]:
    figures = serve_swaps.run(world, arguments.swaps)
    print("\nswaps: " + ", ".join(f"{name} {value:,}" for name, value in figures.items()))
    return figures


def _front(world: World, arguments: argparse.Namespace) -> dict[str, Any]:
    figures = serve_swaps.run_on_front(world, arguments.swaps)
    print("\non a server: " + ", ".join(f"{name} {value:,}" for name, value in figures.items()))
    return figures


_PARTS: dict[str, Callable[[World, argparse.Namespace], dict[str, Any]]] = {
    "load": _load,
    "memory": _memory,
    "peer": _peer,
    "swaps": _swaps,
    "front": _front,
}


def _print_loads(figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A line for each load, of medians over the rounds."""
    print()
    report.table(
        ("", "answers/s", "p50 ms", "p99 ms", "waiting", "embedding", "search", "rest", "statuses"),
        [
            (
                name,
                *(f"{_median(rounds, value):,.1f}" for value in ("requests_per_second", "p50_ms", "p99_ms")),
                *(
                    "-" if rounds[0].get(part) is None else f"{_median(rounds, part):.2f}"
                    for part in ("wait_ms", "embed_ms", "search_ms", "rest_ms")
                ),
                ", ".join(f"{status}: {count:,}" for status, count in _counts(rounds).items()),
            )
            for name, rounds in figures.items()
        ],
    )


def _median(rounds: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(statistics.median(each[name] for each in rounds))


def _counts(rounds: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in rounds:
        for status, count in {**each["statuses"], "broken": each["broken"]}.items():
            counts[status] = counts.get(status, 0) + count
    return {status: count for status, count in sorted(counts.items()) if count}


def _print_ratios(spreads: Mapping[str, Mapping[str, float]]) -> None:
    print()
    report.table(
        ("", "median", "min", "max"),
        [(name, *(f"{of[part]:.2f}" for part in ("median", "min", "max"))) for name, of in spreads.items()],
    )


if __name__ == "__main__":
    main()
