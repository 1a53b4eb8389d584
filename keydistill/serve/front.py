"""What every request passes first and every answer last: request id, key, problem details, metrics, log."""

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keydistill.serve import metrics
from keydistill.serve.batches import Outcome
from keydistill.serve.keys import Keys
from keydistill.serve.problems import Problem
from keydistill.serve.sessions import Sessions, comes_from_own_page
from keydistill.telemetry import log, log_context, span

_log = logging.getLogger(__name__)

EXCHANGE = "keydistill"
# What may stand in a log and in a header without doing harm.
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_IDS = random.Random()
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"})
# Requests that may send their bodies or wait at a time: each may hold a body in memory.
_MOST_IN_FLIGHT = 1_024
# Asked by machines, every few seconds.
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})


@dataclass(slots=True)
class Exchange:
    """A request and its answer, as metrics and log have them.

    Attributes:
        request_id: The client's `X-Request-Id`, if that is safe, otherwise a new one.
        began: Time on the monotonic clock.
        path: Path of the route; "other" where there is none, so that metrics do not grow by what is asked.
        key: Name of the API key.
        body_bytes: Size of the body, as far as it was read.
        status: Status of the answer.
        problem: Kind of the problem, if it is one.
        items: Number of items.
        titles: Their titles, if the settings want them logged.
        outcome: What answered, if anything did.
    """

    request_id: str
    began: float = field(default_factory=time.monotonic)
    path: str = "other"
    key: str | None = None
    body_bytes: int = 0
    status: int = 0
    problem: str | None = None
    items: int = 0
    titles: list[str] | None = None
    outcome: Outcome | None = None


class Front:
    """The middleware around all routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        paths: frozenset[str],
        keys: Keys,
        refuse: Callable[[], None],
        sessions: Sessions | None = None,
    ) -> None:
        """Wrap the routes.

        Args:
            app: The routes.
            paths: Paths that exist.
            keys: API keys.
            refuse: Raises what requests get that cannot be answered now, before their bodies are read.
            sessions: Sessions of the page, which open what a key opens; None without a page.
        """
        self._app, self._paths, self._keys, self._refuse, self._sessions = app, paths, keys, refuse, sessions
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = Exchange(_request_id(headers.get("x-request-id")))
        scope[EXCHANGE] = exchange
        self._in_flight += 1
        if scope["path"] in self._paths:
            exchange.path = scope["path"]
        # Machines that ask every few seconds would fill a collector.
        if exchange.path in _QUIET:
            await self._answer(scope, headers, exchange, receive, send)
            return
        method = _shown(scope["method"])
        with (
            log_context(request_id=exchange.request_id),
            span(f"{method} {exchange.path}", parent=headers.get("traceparent"), kind="server") as attributes,
        ):
            try:
                await self._answer(scope, headers, exchange, receive, send)
            finally:
                attributes |= {
                    "http.request.method": method,
                    "http.route": exchange.path,
                    "http.response.status_code": exchange.status,
                    "keydistill.request_id": exchange.request_id,
                    "keydistill.items": exchange.items,
                }
                if exchange.outcome is not None:
                    attributes["keydistill.generation"] = exchange.outcome.collection

    async def _answer(self, scope: Scope, headers: Headers, exchange: Exchange, receive: Receive, send: Send) -> None:
        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = exchange.request_id
            await send(message)

        try:
            try:
                if scope["path"].startswith("/v1/"):
                    self._admit(scope, headers, exchange)
                await self._app(scope, receive, send_and_note)
            except Problem as problem:
                await refuse(exchange, problem)(scope, receive, send_and_note)
            except Exception:
                _log.exception("request %s failed", exchange.request_id)
                if exchange.status:
                    raise  # the answer has begun: uvicorn ends the connection
                internal = Problem("internal", "an error of the service; its log has more under this request_id")
                await refuse(exchange, internal)(scope, receive, send_and_note)
        finally:
            self._in_flight -= 1
            self._note(scope["method"], exchange)

    def _admit(self, scope: Scope, headers: Headers, exchange: Exchange) -> None:
        if self._keys.needed():
            bearer = _BEARER.fullmatch(headers.get("authorization", ""))
            exchange.key = self._keys.name_of(bearer[1]) if bearer else self._key_of_session(scope, headers)
            if exchange.key is None:
                reason = "the key is not known" if bearer else "there is none"
                raise Problem(
                    "unauthorized",
                    f"{reason}; expected the header `Authorization: Bearer KEY`",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        # What has a body is embedded.
        if scope["method"] == "POST" and exchange.path != "other":
            if self._in_flight > _MOST_IN_FLIGHT:
                raise Problem("overloaded", f"{self._in_flight} requests are in flight; come back later", retry_after=1)
            self._refuse()

    def _key_of_session(self, scope: Scope, headers: Headers) -> str | None:
        """The key of a page's request; other sites, which the browser would send the cookie for, have none."""
        if self._sessions is None or (scope["method"] not in ("GET", "HEAD") and not comes_from_own_page(headers)):
            return None
        return self._sessions.name_of(headers, scope["scheme"])

    def _note(self, method: str, exchange: Exchange) -> None:
        seconds = time.monotonic() - exchange.began
        shown_method = _shown(method)
        metrics.REQUEST_SECONDS.labels(shown_method, exchange.path, str(exchange.status)).observe(seconds)
        if exchange.body_bytes:
            metrics.REQUEST_BYTES.labels(exchange.path).observe(exchange.body_bytes)
        if exchange.problem is not None:
            metrics.REJECTIONS.labels(exchange.problem).inc()
        if exchange.path in _QUIET:
            return
        fields: dict[str, Any] = {
            "method": shown_method,
            "path": exchange.path,
            "status": exchange.status,
            "ms": round(1_000 * seconds, 3),
        }
        if exchange.key is not None:
            fields["key"] = exchange.key
        if exchange.problem is not None:
            fields["problem"] = exchange.problem
        if exchange.items:
            fields["items"] = exchange.items
        if exchange.outcome is not None:
            fields["generation"] = exchange.outcome.collection
            fields["student_version"] = exchange.outcome.student_version
            fields |= milliseconds(exchange.outcome)
        if exchange.titles is not None:
            fields["titles"] = exchange.titles
        log(_log, "request", **fields)


def _shown(method: str) -> str:
    return method if method in _METHODS else "other"


def refuse(exchange: Exchange, problem: Problem) -> ASGIApp:
    """The answer that says what the problem is."""
    exchange.problem = problem.kind.name
    return problem.response(exchange.request_id)


def milliseconds(outcome: Outcome) -> dict[str, float]:
    """Where the time of a request went: waiting, embedding, search."""
    return {
        "wait_ms": round(1_000 * outcome.waited, 3),
        "embed_ms": round(1_000 * outcome.embedded, 3),
        "search_ms": round(1_000 * outcome.searched, 3),
    }


def _request_id(given: str | None) -> str:
    if given is not None and _SAFE_ID.fullmatch(given):
        return given
    # No secret: asking the system for random bytes each time took a twelfth of what HTTP costs.
    return f"{_IDS.getrandbits(128):032x}"
