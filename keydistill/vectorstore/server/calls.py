"""Calls to a Qdrant server: failures that pass by themselves are repeated, the others become errors of keydistill.

Every operation of `keydistill.vectorstore.server.engine` may be repeated: writes carry their ids, an alias is set
and not moved, and a collection that was created by a request whose answer got lost is recognised by its token.
"""

import json
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from keydistill.errors import CollectionExistsError, CollectionNotFoundError, EngineUnavailableError, VectorStoreError

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_LONGEST_PAUSE_SECONDS = 15.0
# A wait from which on somebody who looks on is told.
_NOTED_SECONDS = 1.0
_LONGEST_REASON = 300

# 408 and 503 are what Qdrant answers when an operation took too long or a shard is not there yet
# (https://github.com/qdrant/qdrant/blob/master/src/actix/helpers.rs); 502 and 504 come from proxies before it.
_TRANSIENT_HTTP = frozenset({408, 429, 502, 503, 504})
_HTTP_OF_GRPC = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


_NO_TLS_THERE = "its port does not speak TLS as we do: begin KEYDISTILL_QDRANT_URL with http://, or correct the port"


class UnconfirmedWriteError(Exception):
    """The server has logged a write but not applied it within its own time limit."""


# Errors of a failed request; anything else is a defect and goes through.
_FAILURES = (ApiException, QdrantException, grpc.RpcError, UnconfirmedWriteError, ValueError)


@dataclass(frozen=True, slots=True)
class _Failure:
    """The meaning of a failed call: `error` is raised unless it is `transient` and repeats are left."""

    error: type[VectorStoreError]
    reason: str
    advice: str = ""
    transient: bool = False
    wait_seconds: float = 0.0


def _unheard(text: str) -> None:
    """What is said to nobody."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call is repeated that failed for a passing reason.

    Attributes:
        seconds: Time after the first try in which others may begin.
        tries: Most tries; None: as many as fit into the time. A try that was told when to come back (429 with
            Retry-After) is none.
        waiting: Told what a longer wait is for, and "" when the work goes on.
    """

    seconds: float
    tries: int | None = None
    waiting: Callable[[str], None] = field(default=_unheard, repr=False)

    @property
    def is_long(self) -> bool:
        """Whether somebody wants to be told what is waited for."""
        return self.waiting is not _unheard


class Caller:
    """Makes calls, repeats those that failed for a transient reason, and raises errors of keydistill for the others."""

    def __init__(self, address: str, *, backoff_seconds: float) -> None:
        self._address = address
        self._backoff_seconds = backoff_seconds

    def __call__(self, doing: str, function: Callable[[], _Result], patience: Patience) -> _Result:
        """Call the function, repeatedly if need be, and return its result.

        Args:
            doing: Description of the call for the error's text, such as "counting 'keyphrases'".
            function: One request to the server.
            patience: How long it is repeated.

        Raises:
            EngineUnavailableError: The server does not answer, also not after all repeats.
            CollectionNotFoundError: The server knows no collection or alias of that name.
            CollectionExistsError: The server has a collection of that name already.
            VectorStoreError: The server refused for any other reason, which the text names.
        """
        began, number, tries, is_waiting = time.monotonic(), 0, 0, False
        try:
            while True:
                number += 1
                try:
                    return function()
                except _FAILURES as error:
                    failure = _failure(error)
                    tries += not failure.wait_seconds
                    pause = self._pause(number, failure)
                    waited = time.monotonic() - began
                    is_last = tries == patience.tries or waited + pause > patience.seconds
                    if not failure.transient or is_last:
                        raise failure.error(self._text(doing, failure, number, waited)) from error
                _log.info("%s: %s; repeat %d in %.1f s", doing, failure.reason, number, pause)
                if patience.is_long and waited + pause >= _NOTED_SECONDS:
                    is_waiting = True
                    patience.waiting(f"waiting for Qdrant, up to {duration(patience.seconds)}")
                time.sleep(pause)
        finally:
            if is_waiting:
                patience.waiting("")

    def _pause(self, number: int, failure: "_Failure") -> float:
        # Jitter, or workers that one outage stopped would all come back in the same instant.
        backoff = self._backoff_seconds * 2.0 ** min(number - 1, 16) * random.uniform(0.5, 1.5)
        return failure.wait_seconds or min(backoff, _LONGEST_PAUSE_SECONDS)

    def _text(self, doing: str, failure: "_Failure", number: int, waited: float) -> str:
        took = f" within {duration(waited)}" if waited >= 10 else ""
        count = f" ({number} tries{took})" if number > 1 else ""
        advice = f"; {failure.advice}" if failure.advice else ""
        return f"{doing}: Qdrant at {self._address}: {failure.reason}{count}{advice}"


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(600), duration(30)
    ('10 min', '30 s')
    """
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _failure(error: Exception) -> _Failure:
    if isinstance(error, UnexpectedResponse):
        return _refused(error.status_code or 0, _reason(error.content))
    if isinstance(error, ResourceExhaustedResponse):
        return _refused(429, _one_line(str(error)), float(error.retry_after_s))
    if isinstance(error, ResponseHandlingException):
        return _unanswered(error.source)
    if isinstance(error, grpc.RpcError):
        return _refused_by_grpc(error.code(), _one_line(error.details() or str(error.code())))
    if isinstance(error, UnconfirmedWriteError):
        return _Failure(EngineUnavailableError, "took the write but did not apply it in time", transient=True)
    if isinstance(error, json.JSONDecodeError):
        return _unanswered(error)
    # The client's local mode raises bare ValueErrors; so does the client for requests that it cannot put in words.
    reason = _one_line(str(error))
    if reason.startswith("Collection ") and reason.endswith(" not found"):
        return _Failure(CollectionNotFoundError, reason)
    if reason.endswith(" already exists"):
        return _Failure(CollectionExistsError, reason)
    return _Failure(VectorStoreError, reason)


def _refused(status: int, reason: str, wait_seconds: float = 0.0) -> _Failure:
    """The failure of an answer that is an error; gRPC codes come as the HTTP status that means the same."""
    if status in _TRANSIENT_HTTP:
        advice = "check KEYDISTILL_QDRANT_URL, that the server runs, and its load"
        return _Failure(EngineUnavailableError, reason, advice, transient=True, wait_seconds=wait_seconds)
    if status in (401, 403):
        return _Failure(VectorStoreError, reason, "set KEYDISTILL_QDRANT_API_KEY to a key that may do this")
    # A wrong path in front of the server answers 404 too, but not in Qdrant's words.
    if status == 404 and "ollection" in reason:
        return _Failure(CollectionNotFoundError, reason, "`keydistill collections list` shows what there is")
    if status == 409:
        return _Failure(CollectionExistsError, reason)
    if status == 400 and "plain HTTP request was sent to HTTPS port" in reason:
        return _Failure(EngineUnavailableError, "its port speaks TLS", "begin KEYDISTILL_QDRANT_URL with https://")
    # https://github.com/qdrant/qdrant/pull/9646: Qdrant's text where its disk is full.
    advice = "make room on the server's disk; it answers queries meanwhile" if "No space left" in reason else ""
    return _Failure(VectorStoreError, reason, advice)


def _refused_by_grpc(code: grpc.StatusCode, reason: str) -> _Failure:
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "message larger than" in reason:
        return _Failure(VectorStoreError, reason, "lower KEYDISTILL_UPSERT_BATCH")
    if code == grpc.StatusCode.UNAVAILABLE:
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return _untrusted(reason)
        if "WRONG_VERSION_NUMBER" in reason:
            return _Failure(EngineUnavailableError, reason, _NO_TLS_THERE)
        advice = (
            "check KEYDISTILL_QDRANT_URL and KEYDISTILL_QDRANT_GRPC_PORT, that the server runs, and its load; with "
            "https, that gRPC trusts its certificate: it does not read SSL_CERT_FILE, and says that the connection was "
            "refused; with http, that the port does not want https"
        )
        return _Failure(EngineUnavailableError, reason, advice, transient=True)
    return _refused(_HTTP_OF_GRPC.get(code, 0), reason)


def _untrusted(reason: str) -> _Failure:
    advice = (
        "the certificate is not trusted: name the CA that signed it (see docs/qdrant-server.md), or correct the "
        "host in KEYDISTILL_QDRANT_URL"
    )
    return _Failure(EngineUnavailableError, reason, advice)


def _unspoken(source: Exception) -> _Failure | None:
    """The failure of two that do not speak alike, which no repeat mends; None where it is something else."""
    reason = f"no connection ({_one_line(str(source)) or type(source).__name__})"
    causes: BaseException | None = source
    while causes is not None:
        if isinstance(causes, ssl.SSLCertVerificationError):
            return _untrusted(reason)
        if isinstance(causes, ssl.SSLError) and not isinstance(causes, ssl.SSLEOFError):
            return _Failure(EngineUnavailableError, reason, _NO_TLS_THERE)
        causes = causes.__cause__ or causes.__context__
    # httpx passes on the text alone of what OpenSSL says.
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return _untrusted(reason)
    if "[SSL" in reason and "EOF" not in reason:
        return _Failure(EngineUnavailableError, reason, _NO_TLS_THERE)
    if isinstance(source, httpx.RemoteProtocolError) and "\\x15\\x03" in str(source):
        # The first bytes of a TLS alert, where an HTTP status line was expected.
        return _Failure(EngineUnavailableError, "its port speaks TLS", "begin KEYDISTILL_QDRANT_URL with https://")
    return None


def _unanswered(source: Exception) -> _Failure:
    advice = "check KEYDISTILL_QDRANT_URL and that the server runs"
    if isinstance(source, httpx.TimeoutException):
        reason = f"no answer in time ({type(source).__name__})"
        return _Failure(EngineUnavailableError, reason, f"{advice}, or raise KEYDISTILL_QDRANT_TIMEOUT_SECONDS", True)
    if isinstance(source, httpx.TransportError):
        unspoken = _unspoken(source)
        if unspoken is not None:
            return unspoken
        reason = f"no connection ({_one_line(str(source)) or type(source).__name__})"
        return _Failure(EngineUnavailableError, reason, advice, transient=True)
    return _Failure(VectorStoreError, f"an answer that is not Qdrant's ({_one_line(str(source))})", advice)


def _reason(content: bytes) -> str:
    """The reason in an error response: Qdrant's JSON, or the plain text of a proxy before it."""
    try:
        return _one_line(str(json.loads(content)["status"]["error"]))
    except (ValueError, KeyError, TypeError):
        return _one_line(content.decode("utf-8", "replace")) or "an error without a reason"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."
