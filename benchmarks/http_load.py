"""Load over HTTP from a process of its own, which costs little: bytes that are ready, and no client library.

    python -m benchmarks.http_load REQUESTS --url URL (--clients N | --rate R) --seconds S

REQUESTS is a JSON file with a list of bodies. N clients send one request after the other; with a rate, requests are
sent at even times, whether or not earlier ones are answered, as users do. Prints the figures as JSON.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_TIMING = re.compile(rb"(\w+);dur=([0-9.]+)")
# Connections that a rate may need at once; more than these and the service is not keeping up at all.
_MOST_CONNECTIONS = 1_000


@dataclass(slots=True)
class Figures:
    """What came back."""

    milliseconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    broken: int = 0

    def note(self, seconds: float, head: bytes) -> None:
        """Note an answer by its head."""
        status = int(head[9:12])
        self.statuses[status] += 1
        if status == 200:
            self.milliseconds.append(1_000 * seconds)
            for name, duration in _TIMING.findall(head):
                self.parts.setdefault(name.decode(), []).append(float(duration))
        elif status == 429 and b"retry-after:" not in head.lower():
            self.without_retry_after += 1

    def summary(self, seconds: float) -> dict[str, Any]:
        """Rates and quantiles."""
        times = np.array(self.milliseconds or [np.nan])
        parts = {f"{name}_ms": statistics.median(values) for name, values in self.parts.items()}
        whole = float(np.median(times))
        return {
            "requests_per_second": len(self.milliseconds) / seconds,
            "p50_ms": whole,
            "p99_ms": float(np.quantile(times, 0.99)),
            **parts,
            "rest_ms": whole - sum(parts.values()) if parts else None,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "429_without_retry_after": self.without_retry_after,
            "broken": self.broken,
        }


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


async def _connected(url: str) -> _Connection:
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(_Connection, place.hostname or "", place.port or 80)
    return protocol


async def closed_loop(url: str, requests: list[bytes], clients: int, seconds: float) -> Figures:
    """So many clients, each of which sends its next request when the last is answered."""
    figures = Figures()
    until = time.perf_counter() + seconds

    async def client(place: int) -> None:
        connection = await _connected(url)
        while time.perf_counter() < until:
            place += clients
            began = time.perf_counter()
            try:
                head = await connection.ask(requests[place % len(requests)])
            except ConnectionError:
                figures.broken += 1
                connection = await _connected(url)
            else:
                figures.note(time.perf_counter() - began, head)

    await asyncio.gather(*(client(place) for place in range(clients)))
    return figures


async def open_loop(url: str, requests: list[bytes], rate: float, seconds: float) -> Figures:
    """So many requests a second at even times; their time runs from when they were due."""
    figures = Figures()
    free: list[_Connection] = []
    asking: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one(place: int, due: float) -> None:
        connection = free.pop() if free else None
        try:
            if connection is None or connection.closed:
                connection = await _connected(url)
            head = await connection.ask(requests[place % len(requests)])
        except ConnectionError:
            figures.broken += 1
            return
        figures.note(time.perf_counter() - due, head)
        free.append(connection)

    for place in range(int(rate * seconds)):
        due = began + place / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if len(asking) >= _MOST_CONNECTIONS:
            figures.broken += 1
            continue
        task = asyncio.create_task(one(place, due))
        asking.add(task)
        task.add_done_callback(asking.discard)
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
    began = time.perf_counter()
    if arguments.rate:
        figures = uvloop.run(open_loop(arguments.url, requests, arguments.rate, arguments.seconds))
    else:
        figures = uvloop.run(closed_loop(arguments.url, requests, arguments.clients or 1, arguments.seconds))
    json.dump(figures.summary(time.perf_counter() - began), sys.stdout)


if __name__ == "__main__":
    main()
