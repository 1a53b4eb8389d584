"""A small Qdrant server for tests: its REST API, as far as keydistill speaks it, on the embedded engine.

    python -m tests.support.rest_front --folder DIR --port 0

prints its address on one line. Any number of processes may use it at once. It is no server for anything but tests: one
process does all the work, and the engine holds the interpreter's lock while it optimises.

Beside Qdrant's paths there are `/_front/faults` (POST orders a fault, see `faults.Fault`; DELETE ends all of them),
`/_front/requests` (GET what was asked, DELETE forgets it) and `/_front/amid` (POST {"name": ..., "ids": [...]} deletes
points while the next query of a collection is under way) and `/_front/lag` (POST {"seconds": ...} changes what `--lag`
said; all nodes know at once what was changed until then). `--nodes` and `--lag` make it several nodes behind a balancer
(see `lag`), `--strict` gives new collections the limits of strict mode (see `strict`).
"""

import argparse
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support import strict
from tests.support.faults import Fault, Ledger
from tests.support.lag import Balancer, Node
from tests.support.shelf import Shelf
from tests.support.wire import Refusal

Json = Any
_VERSION = "1.20.0"
_METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]
# Open without a key on a real server too: https://qdrant.tech/documentation/operations/security/
# What changes nothing.
_READING = re.compile(r"GET .*|POST /collections/[^/]+/points(/query|/query/batch|/scroll|/count)?")
_OPEN_PATHS = {"/", "/healthz", "/livez", "/readyz"}
_LARGEST_REQUEST = 32 * 1024 * 1024


def _aliases(shelf: Shelf | Node, name: str | None = None) -> Json:
    return {
        "aliases": [
            {"alias_name": alias, "collection_name": target}
            for alias, target in shelf.aliases.items()
            if name is None or target == name
        ]
    }


def _exists(shelf: Shelf | Node, name: str) -> Json:
    return {"exists": name in shelf.collections or name in shelf.aliases}


# Method, path and what answers: (shelf, body, name of the collection) -> result.
_ROUTES: list[tuple[str, str, Callable[[Shelf | Node, Json, str], Json]]] = [
    ("GET", "/collections", lambda s, b, n: {"collections": [{"name": name} for name in list(s.collections)]}),
    ("GET", "/aliases", lambda s, b, n: _aliases(s)),
    ("POST", "/collections/aliases", lambda s, b, n: s.change_aliases(b["actions"])),
    ("GET", "/collections/{name}", lambda s, b, n: s.get(n).info()),
    ("PUT", "/collections/{name}", lambda s, b, n: s.create(n, b)),
    ("PATCH", "/collections/{name}", lambda s, b, n: s.get(n).change(b)),
    ("DELETE", "/collections/{name}", lambda s, b, n: s.drop(n)),
    ("GET", "/collections/{name}/exists", lambda s, b, n: _exists(s, n)),
    ("GET", "/collections/{name}/aliases", lambda s, b, n: _aliases(s, n)),
    ("GET", "/collections/{name}/optimizations", lambda s, b, n: s.get(n).optimizations()),
    ("PUT", "/collections/{name}/index", lambda s, b, n: s.get(n).create_index(b)),
    ("PUT", "/collections/{name}/points", lambda s, b, n: s.get(n).upsert(b)),
    ("POST", "/collections/{name}/points", lambda s, b, n: s.get(n).retrieve(b)),
    ("POST", "/collections/{name}/points/delete", lambda s, b, n: s.get(n).delete(b)),
    ("POST", "/collections/{name}/points/payload", lambda s, b, n: s.get(n).set_payload(b)),
    ("POST", "/collections/{name}/points/query", lambda s, b, n: s.get(n).query(b)),
    ("POST", "/collections/{name}/points/query/batch", lambda s, b, n: s.get(n).query_batch(b)),
    ("POST", "/collections/{name}/points/scroll", lambda s, b, n: s.get(n).scroll(b)),
    ("POST", "/collections/{name}/points/count", lambda s, b, n: s.get(n).count(b)),
]
_PATTERNS = [
    (method, re.compile(path.replace("{name}", "(?P<name>[^/]+)")), answer) for method, path, answer in _ROUTES
]


class Front:
    """The application: key, faults, record, and Qdrant's envelope around every answer."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        api_key: str | None = None,
        read_only_key: str | None = None,
        version: str = _VERSION,
        nodes: int = 1,
        lag: float = 0.0,
    ) -> None:
        self._shelf = shelf
        self._balancer = Balancer(shelf, nodes, lag) if nodes > 1 else None
        self._api_key = api_key
        self._read_only_key = read_only_key
        self._version = version
        self._ledger = Ledger()
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)])

    async def _answer(self, request: Request) -> Response:
        # Not the decoded path: a collection's name may hold a slash.
        path = request.scope["raw_path"].decode().partition("?")[0]
        body = await request.body()
        if path.startswith("/_front/"):
            return self._order(request.method, path, body)
        key = request.headers.get("api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._api_key is not None and path not in _OPEN_PATHS and key not in (self._api_key, self._read_only_key):
            reason = "Invalid API key or JWT" if key else "Must provide an API key or an Authorization bearer token"
            return PlainTextResponse(reason, status_code=401)
        if key is not None and key == self._read_only_key and not _READING.fullmatch(f"{request.method} {path}"):
            # https://github.com/qdrant/qdrant/blob/master/lib/storage/src/rbac/mod.rs
            error = {"status": {"error": "Forbidden: Global manage access is required"}, "time": 0.0}
            return JSONResponse(error, status_code=403)
        fault = self._ledger.due(f"{request.method} {path}")
        if fault is not None:
            await self._ledger.wait(fault, fault.delay)
        if fault is not None and fault.status is not None and fault.when == "before":
            response = _failed(fault)
        else:
            response = await run_in_threadpool(self._work, request, path, body)
            if fault is not None:
                await self._ledger.wait(fault, fault.delay_after)
            if fault is not None and fault.status is not None:
                response = _failed(fault)
        noted = {"method": request.method, "path": path, "bytes": len(body), "status": response.status_code}
        if request.method == "PUT" and "/points" not in path:
            # How a collection is to be made, and its indexes.
            noted["body"] = json.loads(body)
        self._ledger.requests.append(noted)
        return response

    def _work(self, request: Request, path: str, body: bytes) -> Response:
        if path == "/":
            return JSONResponse({"title": "qdrant - vector search engine", "version": self._version, "commit": "front"})
        if path in _OPEN_PATHS:
            return PlainTextResponse("all shards are ready" if path == "/readyz" else "healthz check passed")
        started = time.perf_counter()
        try:
            result = self._result(request, path, body)
        except Refusal as refusal:
            return JSONResponse(
                {"status": {"error": str(refusal)}, "time": time.perf_counter() - started}, status_code=refusal.status
            )
        return JSONResponse({"result": result, "status": "ok", "time": time.perf_counter() - started})

    def _result(self, request: Request, path: str, body: bytes) -> Json:
        if path == "/cluster":
            return self._cluster()
        if len(body) > _LARGEST_REQUEST:
            raise Refusal(413, f"JSON payload ({len(body)} bytes) is larger than allowed ({_LARGEST_REQUEST} bytes).")
        for known, pattern, answer in _PATTERNS:
            found = pattern.fullmatch(path)
            if found and known == request.method:
                name = unquote(found.groupdict().get("name", ""))
                shelf = self._shelf if self._balancer is None else self._balancer.next()
                if name and "timeout" in request.query_params and "/points" in path:
                    strict.check_timeout(shelf.get(name).limits, int(request.query_params["timeout"]))
                try:
                    return answer(shelf, json.loads(body) if body else {}, name)
                except (KeyError, TypeError, json.JSONDecodeError) as error:
                    raise Refusal(400, f"Format error in JSON body: {error!r}") from error
        raise Refusal(404, f"this front does not speak {request.method} {path}")

    def _cluster(self) -> Json:
        if self._balancer is None:
            return {"status": "disabled"}
        peers = {str(number): {"uri": f"http://node{number}:6335/"} for number in range(self._balancer.nodes)}
        raft = {"term": 1, "commit": 1, "pending_operations": 0, "leader": 0, "role": "Leader", "is_voter": True}
        working = {"consensus_thread_status": "working", "last_update": "2026-01-01T00:00:00Z"}
        return {
            "status": "enabled",
            "peer_id": 0,
            "peers": peers,
            "raft_info": raft,
            "consensus_thread_status": working,
            "message_send_failures": {},
        }

    def _order(self, method: str, path: str, body: bytes) -> Response:
        if path == "/_front/faults" and method == "POST":
            self._ledger.faults.append(Fault(**json.loads(body)))
        elif path == "/_front/faults" and method == "DELETE":
            self._ledger.faults.clear()
        elif path == "/_front/amid":
            order = json.loads(body)
            self._shelf.get(order["name"]).amid = order["ids"]
        elif path == "/_front/lag" and self._balancer is not None:
            self._balancer.lag(json.loads(body)["seconds"])
        elif path == "/_front/requests" and method == "DELETE":
            self._ledger.requests.clear()
        return JSONResponse(
            {"faults": [asdict(fault) for fault in self._ledger.faults], "requests": self._ledger.requests}
        )


def _failed(fault: Fault) -> Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    error = {"status": {"error": fault.message}, "time": 0.0}
    return JSONResponse(error, status_code=fault.status or 503, headers=headers)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where collections are kept")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--api-key", help="ask for this key")
    parser.add_argument("--read-only-key", help="or for this one, which changes nothing")
    parser.add_argument("--version", default=_VERSION, help="version to claim")
    parser.add_argument("--optimize-delay", type=float, default=0.05, help="seconds of yellow before the work")
    parser.add_argument("--nodes", type=int, default=1, help="nodes behind the balancer that it stands for")
    parser.add_argument("--lag", type=float, default=0.0, help="seconds after which the last node knows of a change")
    parser.add_argument("--strict", type=json.loads, help="limits of strict mode that new collections get, JSON")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, help="JSON fields of a fault")
    parser.add_argument("--end-with-stdin", action="store_true", help="stop when whoever started this is gone")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    limits = None if options.strict is None else {"enabled": True, **options.strict}
    shelf = Shelf(options.folder, optimize_delay=options.optimize_delay, limits=limits)
    front = Front(
        shelf,
        api_key=options.api_key,
        read_only_key=options.read_only_key,
        version=options.version,
        nodes=options.nodes,
        lag=options.lag,
    )
    front._ledger.faults.extend(Fault(**fields) for fields in options.fault)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(128)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server = uvicorn.Server(uvicorn.Config(front.app, log_level="warning", lifespan="off", access_log=False))
    if options.end_with_stdin:

        def end_with_stdin() -> None:
            sys.stdin.buffer.read()
            server.should_exit = True

        threading.Thread(target=end_with_stdin, daemon=True).start()
    server.run(sockets=[listener])
    shelf.close()


if __name__ == "__main__":
    main()
