"""Load over HTTP from a process of its own, which costs little: bytes that are ready, and no client library.

    python -m benchmarks.http_load REQUESTS --url URL (--clients N | --rate R) --seconds S

REQUESTS is a JSON file with a list of bodies. N clients send one request after the other; with a rate, requests are
sent at random times (a Poisson process), whether or not earlier ones are answered, as users do: over a connection that
is free, over a new one where none is, and none is left out. Prints the figures as JSON.

Where it may, the driver goes before other processes, so that it is as punctual as one on another machine. What it was
late nevertheless is in the times: they run from when a request was due. Those that run from when it was begun, its
connection included, stand beside them.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_TIMING = re.compile(rb"(\w+);dur=([0-9.]+)")
# Connections that a rate may need at once; a request that finds all of them busy waits for one.
_MOST_CONNECTIONS = 1_000
_NICENESS = -10


@dataclass(slots=True)
class Figures:
    """What came back.

    Attributes:
        since_due: Milliseconds of each answer that has a result, from when its request was due.
        since_begun: The same from when its request was begun.
        since_begun_refused: Milliseconds of each refusal, from when its request was begun.
        parts: What the service says that each of them spent where.
        statuses: Number of answers by status.
        connecting: Milliseconds of each new connection.
        without_retry_after: Refusals that do not say when to come back.
        broken: Requests whose connection ended, or that had none.
    """

    since_due: list[float] = field(default_factory=list)
    since_begun: list[float] = field(default_factory=list)
    since_begun_refused: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    connecting: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    broken: int = 0

    def note(self, due: float, begun: float, head: bytes) -> None:
        """Note an answer that is here now, by its head."""
        now = time.perf_counter()
        status = int(head[9:12])
        self.statuses[status] += 1
        if status == 429:
            self.since_begun_refused.append(1_000 * (now - begun))
        if status == 200:
            self.since_due.append(1_000 * (now - due))
            self.since_begun.append(1_000 * (now - begun))
            for name, duration in _TIMING.findall(head):
                self.parts.setdefault(name.decode(), []).append(float(duration))
        elif status == 429 and b"retry-after:" not in head.lower():
            self.without_retry_after += 1

    def summary(self, seconds: float) -> dict[str, Any]:
        """Rates and quantiles."""
        times = np.array(self.since_due or [np.nan])
        parts = {f"{name}_ms": statistics.median(values) for name, values in self.parts.items()}
        whole = float(np.median(times))
        return {
            "requests_per_second": len(self.since_due) / seconds,
            "p50_ms": whole,
            "p99_ms": float(np.quantile(times, 0.99)),
            "begun_p50_ms": _quantile(self.since_begun, 0.5),
            "begun_p99_ms": _quantile(self.since_begun, 0.99),
            "refused_p99_ms": _quantile(self.since_begun_refused, 0.99),
            "connections": len(self.connecting),
            "connect_p99_ms": _quantile(self.connecting, 0.99),
            **parts,
            "rest_ms": whole - sum(parts.values()) if parts else None,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "429_without_retry_after": self.without_retry_after,
            "broken": self.broken,
        }


def _quantile(values: list[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        if len(self._buffer) - end - 4 >= (int(length[1]) if length else 0):
            head, self._buffer = self._buffer[:end], b""
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(head)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was closed"))

    async def ask(self, request: bytes) -> bytes:
        """The head of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return await self._answer


async def _connected(url: str, figures: Figures) -> _Connection:
    began = time.perf_counter()
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(_Connection, place.hostname or "", place.port or 80)
    figures.connecting.append(1_000 * (time.perf_counter() - began))
    return protocol


async def closed_loop(url: str, requests: list[bytes], clients: int, seconds: float) -> Figures:
    """So many clients, each of which sends its next request when the last is answered."""
    figures = Figures()
    until = time.perf_counter() + seconds

    async def client(place: int) -> None:
        connection = await _connected(url, figures)
        while time.perf_counter() < until:
            place += clients
            began = time.perf_counter()
            try:
                head = await connection.ask(requests[place % len(requests)])
            except ConnectionError:
                figures.broken += 1
                connection = await _connected(url, figures)
            else:
                figures.note(began, began, head)

    await asyncio.gather(*(client(place) for place in range(clients)))
    return figures


async def open_loop(url: str, requests: list[bytes], rate: float, seconds: float) -> Figures:
    """So many requests a second on average, independent of each other and of the answers."""
    figures = Figures()
    # The last connection that became free is taken first; None stands for one that is not open yet.
    connections: asyncio.LifoQueue[_Connection | None] = asyncio.LifoQueue()
    for _ in range(_MOST_CONNECTIONS):
        connections.put_nowait(None)
    chance = random.Random(0)
    asking: set[asyncio.Task[None]] = set()

    async def one(place: int, due: float) -> None:
        connection = await connections.get()
        begun = time.perf_counter()
        try:
            if connection is None or connection.closed:
                connection = None
                connection = await _connected(url, figures)
            head = await connection.ask(requests[place % len(requests)])
        except OSError:
            figures.broken += 1
        else:
            figures.note(due, begun, head)
        connections.put_nowait(connection)

    place, due = 0, time.perf_counter()
    until = due + seconds
    while (due := due + chance.expovariate(rate)) < until:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(place, due))
        asking.add(task)
        task.add_done_callback(asking.discard)
        place += 1
    await asyncio.gather(*asking)
    return figures


def request_bytes(url: str, path: str, body: Any) -> bytes:
    """A request, ready to be sent."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def load(bodies: Path, url: str, *, path: str = "/v1/recommend", seconds: float, **kind: float) -> dict[str, Any]:
    """Figures of a load from another process; `kind` is `clients` or `rate`."""
    ((name, value),) = kind.items()
    command = [sys.executable, "-m", "benchmarks.http_load", bodies, "--url", url, "--path", path]
    command += ["--seconds", seconds, f"--{name}", value]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Send, and print figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--path", default="/v1/recommend")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    bodies = json.loads(arguments.bodies.read_text(encoding="utf-8"))
    requests = [request_bytes(arguments.url, arguments.path, body) for body in bodies]
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    began = time.perf_counter()
    if arguments.rate:
        figures = uvloop.run(open_loop(arguments.url, requests, arguments.rate, arguments.seconds))
    else:
        figures = uvloop.run(closed_loop(arguments.url, requests, arguments.clients or 1, arguments.seconds))
    seconds = time.perf_counter() - began
    json.dump({**figures.summary(seconds), "driver_cpu_share": time.process_time() / seconds}, sys.stdout)


if __name__ == "__main__":
    main()
