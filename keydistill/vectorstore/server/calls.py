"""Calls to a Qdrant server: failures that pass by themselves are repeated, the others become errors of keydistill.

Every operation of `keydistill.vectorstore.server.engine` may be repeated: writes carry their ids, an alias is set
and not moved, and a collection that was created by a request whose answer got lost is recognised by its token.
"""

import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from keydistill.errors import CollectionExistsError, CollectionNotFoundError, EngineUnavailableError, VectorStoreError

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_LONGEST_WAIT_SECONDS = 30.0
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


class Caller:
    """Makes calls, repeats those that failed for a transient reason, and raises errors of keydistill for the others."""

    def __init__(self, address: str, *, retries: int, backoff_seconds: float) -> None:
        self._address = address
        self._backoff_seconds = backoff_seconds
        # Threads share it: it keeps its statistics for each of them.
        self._retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _FAILURES) and _failure(error).transient),
            stop=stop_after_attempt(retries + 1),
            wait=self._wait_seconds,
            before_sleep=_log_repeat,
            reraise=True,
        )

    def __call__(self, doing: str, function: Callable[[], _Result]) -> _Result:
        """Call the function, repeatedly if need be, and return its result.

        Args:
            doing: Description of the call for the error's text, such as "counting 'keyphrases'".
            function: One request to the server.

        Raises:
            EngineUnavailableError: The server does not answer, also not after all repeats.
            CollectionNotFoundError: The server knows no collection or alias of that name.
            CollectionExistsError: The server has a collection of that name already.
            VectorStoreError: The server refused for any other reason, which the text names.
        """
        try:
            result: _Result = self._retrying(_request, doing, function)
        except _FAILURES as error:
            failure = _failure(error)
            tries: int = self._retrying.statistics["attempt_number"]
            raise failure.error(self._text(doing, failure, tries)) from error
        return result

    def _wait_seconds(self, state: RetryCallState) -> float:
        # Jitter, or workers that one outage stopped would all come back in the same instant.
        backoff = self._backoff_seconds * 2.0 ** (state.attempt_number - 1) * random.uniform(0.5, 1.5)
        return min(max(backoff, _failure_of(state).wait_seconds), _LONGEST_WAIT_SECONDS)

    def _text(self, doing: str, failure: _Failure, tries: int) -> str:
        count = f" ({tries} tries)" if tries > 1 else ""
        advice = f"; {failure.advice}" if failure.advice else ""
        return f"{doing}: Qdrant at {self._address}: {failure.reason}{count}{advice}"


def _request(doing: str, function: Callable[[], _Result]) -> _Result:
    """One try; `doing` is for the log alone."""
    return function()


def _failure_of(state: RetryCallState) -> _Failure:
    error = None if state.outcome is None else state.outcome.exception()
    assert isinstance(error, Exception)
    return _failure(error)


def _log_repeat(state: RetryCallState) -> None:
    reason, number = _failure_of(state).reason, state.attempt_number
    _log.info("%s: %s; repeat %d in %.1f s", state.args[0], reason, number, state.upcoming_sleep)


def _failure(error: Exception) -> _Failure:
    if isinstance(error, UnexpectedResponse):
        return _refused(error.status_code or 0, _reason(error.content))
    if isinstance(error, ResourceExhaustedResponse):
        return _refused(429, _one_line(str(error)), float(error.retry_after_s))
    if isinstance(error, ResponseHandlingException):
        return _unanswered(error.source)
    if isinstance(error, grpc.RpcError):
        return _refused(_HTTP_OF_GRPC.get(error.code(), 0), _one_line(error.details() or str(error.code())))
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
    return _Failure(VectorStoreError, reason)


def _unanswered(source: Exception) -> _Failure:
    advice = "check KEYDISTILL_QDRANT_URL and that the server runs"
    if isinstance(source, httpx.TimeoutException):
        reason = f"no answer in time ({type(source).__name__})"
        return _Failure(EngineUnavailableError, reason, f"{advice}, or raise KEYDISTILL_QDRANT_TIMEOUT_SECONDS", True)
    if isinstance(source, httpx.TransportError):
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
