"""The HTTP service under load, beside its floor and a peer; overload; swaps and killed processes.

    python -m benchmarks.serve [--keyphrases N] [--processes N] [--requests N] [--keep FOLDER] [--quick] [--json FILE]

A simulated marketplace, and two students of untrained weights that are rounded for int8: the three-layer one that
serves, and another that takes its place in swaps. Each builds a collection by the product's own commands, on the
embedded engine, in the fastest runtime of this machine. Untrained students recommend badly, as fast as trained ones.

A driver in a process of its own asks over loopback, one item a request, filtered by its site: at 1, 16 and 64 clients,
then twice as many requests a second as 64 clients got answered. Its time is split by what the service says in
`Server-Timing`: waiting, embedding, search, and the rest, which is HTTP, JSON and the driver. Beside it, in one process
and without HTTP: one embedding alone and one search alone, and batches of 32 items.

The peer is `benchmarks.serve_peer` on the REST front of the tests, which stands in for a Qdrant server with the same
vectors in the same engine. Its own logs are off, ours are on.

Swaps: eight clients of `keydistill.client` check every answer against what the library finds with the generation that
it names, while the alias moves to and fro and, twice, one of two service processes is killed.
"""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import report, serve_swaps
from benchmarks.http_load import load
from benchmarks.serve_world import Running, World, build, peer_at, resident_mb, service_at
from keydistill.retrieval import Item, Retriever, item_filter
from keydistill.settings import load_settings
from keydistill.vectorstore.factory import open_engine

_CLIENTS = (1, 16, 64)
_LIMIT = 10
_BATCH = 32
# Requests from which on memory should not grow any more.
_WARM_REQUESTS = 10_000
# Times that the service and its peer are asked in turn, so that what else the machine does meets both.
_ROUNDS = 3


def main() -> None:
    """Build, ask, print."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=1, help="processes of the service under load")
    parser.add_argument("--seconds", type=float, default=10.0, help="time of each load")
    parser.add_argument("--requests", type=int, default=200_000, help="requests after which memory is compared")
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there and leave everything in it")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.keyphrases, arguments.seconds, arguments.requests, arguments.swaps = 2_000, 2.0, 2_000, 6
    before = report.machine()
    with tempfile.TemporaryDirectory() as scratch:
        world = build(arguments.keep or Path(scratch), arguments.keyphrases)
        figures = {
            "keyphrases": arguments.keyphrases,
            "processes": arguments.processes,
            "library": _library(world),
            **_loads(world, arguments),
            "peer": _peer(world, arguments),
            "swaps": serve_swaps.run(world, arguments.swaps),
        }
        shutil.rmtree(world.folder / "front", ignore_errors=True)
    library, at_64 = figures["library"], figures["clients"]["64"]
    figures["ratios"] = {
        "own share at 1 client, ms": figures["clients"]["1"]["rest_ms"] + figures["clients"]["1"]["wait_ms"],
        "of the library's items/s at 64 clients": at_64["requests_per_second"] / library["items_per_second"],
        "of the peer's requests/s at 16 clients": figures["peer"]["ratios"]["median"],
        "p99 at twice the capacity": figures["overload"]["p99_ms"] / at_64["p99_ms"],
    }
    _print(figures)
    report.write(arguments.json, figures, before)
    swaps = figures["swaps"]
    sys.exit(int(bool(swaps["errors"] or swaps["mixed"] or figures["overload"]["429_without_retry_after"])))


def _library(world: World) -> dict[str, float]:
    """The floor, and what one process makes of batches."""
    settings = load_settings(home=world.home, runtime="auto")
    engine = open_engine(settings)
    try:
        generation = Retriever.open(settings, engine).generation
        items = [(item["title"], item_filter(Item("", item["title"], None, item["site"]))) for item in world.items]
        embed, search = [], []
        for title, filter in items[:500]:
            began = time.perf_counter()
            vectors = generation.embed([title])
            embedded = time.perf_counter()
            generation.query(vectors, _LIMIT, [filter])
            embed.append(1_000 * (embedded - began))
            search.append(1_000 * (time.perf_counter() - embedded))
        rates = []
        for _ in range(3):
            began = time.perf_counter()
            for start in range(0, len(items), _BATCH):
                batch = items[start : start + _BATCH]
                generation.recommend([title for title, _ in batch], _LIMIT, [filter for _, filter in batch])
            rates.append(len(items) / (time.perf_counter() - began))
        return {
            "embed_ms": sorted(embed)[len(embed) // 2],
            "search_ms": sorted(search)[len(search) // 2],
            "items_per_second": sorted(rates)[1],
        }
    finally:
        engine.close()


def _loads(world: World, arguments: Any) -> dict[str, Any]:
    """The service at each number of clients, at twice its capacity, and its memory."""
    with service_at(world, "--processes", arguments.processes) as service:
        # The first requests pay for what is read in on demand.
        load(world.bodies, service.url, seconds=2, clients=16)
        clients = {str(n): load(world.bodies, service.url, seconds=arguments.seconds, clients=n) for n in _CLIENTS}
        capacity = clients["64"]["requests_per_second"]
        overload = load(world.bodies, service.url, seconds=arguments.seconds, rate=2 * capacity)
        memory = _memory(world, service, arguments.requests, capacity)
        ready = service.seconds_to_ready
        status = service.end(signal.SIGTERM)
    return {
        "seconds_to_ready": ready,
        "clients": clients,
        "capacity": capacity,
        "overload": overload,
        "memory": memory,
        "status_after_sigterm": status,
    }


def _memory(world: World, service: Running, requests: int, rate: float) -> dict[str, float]:
    """Memory after some thousand requests, and after all of them, by 64 clients."""
    first = min(_WARM_REQUESTS, requests // 2)
    sent, after = 0.0, {}
    for until in (first, requests):
        while sent < until:
            seconds = max(1.0, min(60.0, (until - sent) / rate))
            sent += seconds * load(world.bodies, service.url, seconds=seconds, clients=64)["requests_per_second"]
        after[until] = resident_mb(service)
    return {"early_requests": first, "early_mb": after[first], "late_requests": requests, "late_mb": after[requests]}


def _peer(world: World, arguments: Any) -> dict[str, Any]:
    """The peer and the service in turn, at 16 clients; figures of the peer, and the ratios of each round."""
    with peer_at(world) as peer, service_at(world, "--processes", arguments.processes) as service:
        for url in (peer, service.url):
            load(world.bodies, url, seconds=2, clients=16)
        rounds = [
            [load(world.bodies, url, seconds=arguments.seconds, clients=16) for url in (peer, service.url)]
            for _ in range(_ROUNDS)
        ]
    ratios = [ours["requests_per_second"] / theirs["requests_per_second"] for theirs, ours in rounds]
    return {**rounds[-1][0], "ratios": report.spread(ratios)}


def _print(figures: dict[str, Any]) -> None:
    library = figures["library"]
    print(f"{figures['keyphrases']:,} keyphrases; ready after {figures['seconds_to_ready']:.2f} s")
    print(f"library: embedding {library['embed_ms']:.2f} ms, search {library['search_ms']:.2f} ms, ", end="")
    print(f"{library['items_per_second']:,.0f} items/s in batches of {_BATCH}\n")
    loads = {f"{name} clients": of for name, of in figures["clients"].items()}
    loads |= {"twice the capacity": figures["overload"], "peer, 16 clients": figures["peer"]}
    parts = ("wait_ms", "embed_ms", "search_ms", "rest_ms")
    report.table(
        ("", "answers/s", "p50 ms", "p99 ms", "waiting", "embedding", "search", "rest", "statuses"),
        [
            (
                name,
                *(f"{of[value]:,.1f}" for value in ("requests_per_second", "p50_ms", "p99_ms")),
                *("-" if of.get(part) is None else f"{of[part]:.2f}" for part in parts),
                ", ".join(f"{status}: {count:,}" for status, count in of["statuses"].items()),
            )
            for name, of in loads.items()
        ],
    )
    print()
    report.table(("ratio", ""), [(name, f"{value:.2f}") for name, value in figures["ratios"].items()])
    memory, swaps = figures["memory"], figures["swaps"]
    print(f"\nmemory after {memory['early_requests']:,} requests {memory['early_mb']:.0f} MB", end=", ")
    print(f"after {memory['late_requests']:,} {memory['late_mb']:.0f} MB")
    print(", ".join(f"{name} {value:,}" for name, value in swaps.items()))


if __name__ == "__main__":
    main()
