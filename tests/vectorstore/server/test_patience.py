"""How long calls are repeated, against scripted answers and a clock that passes only in pauses."""

import ssl
import time
from collections.abc import Callable

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from keydistill.errors import EngineUnavailableError
from keydistill.vectorstore.server.calls import Caller, Patience


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda: now[0]


class Server:
    """Fails in turn, and for ever with the last failure; after `comes_back` seconds it answers."""

    def __init__(self, clock: Callable[[], float], *failures: Exception, comes_back: float = float("inf")) -> None:
        self.failures = list(failures)
        self.tries = 0
        self._clock = clock
        self._comes_back = comes_back

    def __call__(self) -> str:
        self.tries += 1
        if self._clock() >= self._comes_back or not self.failures:
            return "answer"
        raise self.failures.pop(0) if len(self.failures) > 1 else self.failures[0]


def caller() -> Caller:
    return Caller("http://host:6333", backoff_seconds=0.5)


def away() -> Exception:
    return ResponseHandlingException(httpx.ConnectError("Connection refused"))


def busy(seconds: int) -> Exception:
    return ResourceExhaustedResponse("Rate limiting exceeded", seconds)


class GrpcFailure(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def test_patient_work_outlasts_a_restart_of_minutes(clock: Callable[[], float]) -> None:
    told: list[str] = []
    server = Server(clock, away(), comes_back=240)
    assert caller()("writing", server, Patience(600, waiting=told.append)) == "answer"
    assert 240 <= clock() < 270
    assert told[0] == "waiting for Qdrant, up to 10 min"
    assert told[-1] == ""


def test_patience_ends(clock: Callable[[], float]) -> None:
    told: list[str] = []
    with pytest.raises(EngineUnavailableError, match=r"Connection refused.*tries within \d+ min"):
        caller()("writing", Server(clock, away()), Patience(600, waiting=told.append))
    assert 570 < clock() <= 600
    assert told[-1] == ""


def test_query_has_a_short_deadline(clock: Callable[[], float]) -> None:
    with pytest.raises(EngineUnavailableError):
        caller()("querying", Server(clock, away()), Patience(10, 100))
    assert clock() <= 10


def test_waiting_as_told_is_no_failed_try(clock: Callable[[], float]) -> None:
    server = Server(clock, *[busy(5)] * 9, away(), comes_back=44)
    assert caller()("counting", server, Patience(60, 2)) == "answer"
    assert server.tries == 10
    assert clock() >= 45


def test_told_to_wait_for_longer_than_there_is_time(clock: Callable[[], float]) -> None:
    with pytest.raises(EngineUnavailableError, match="Rate limiting"):
        caller()("querying", Server(clock, busy(48)), Patience(10, 5))
    assert clock() == 0


def _with_cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


REFUSED = {
    "untrusted certificate": (
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"),
        "not trusted",
    ),
    "untrusted certificate, by its cause": (
        _with_cause(httpx.ConnectError("failed"), ssl.SSLCertVerificationError("unable to get local issuer")),
        "not trusted",
    ),
    "TLS spoken to a plain port": (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "http://"),
    "TLS record to a plain port": (httpx.ConnectError("[SSL] record layer failure (_ssl.c:1006)"), "http://"),
    "HTTP spoken to a TLS port": (
        httpx.RemoteProtocolError("illegal status line: bytearray(b'\\x15\\x03\\x03\\x00\\x02\\x02')"),
        "https://",
    ),
}


@pytest.mark.parametrize(("source", "advice"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_pass_is_not_repeated(clock: Callable[[], float], source: Exception, advice: str) -> None:
    server = Server(clock, ResponseHandlingException(source))
    with pytest.raises(EngineUnavailableError, match=advice) as caught:
        caller()("listing", server, Patience(600))
    assert (server.tries, clock()) == (1, 0)
    assert "\n" not in str(caught.value)


def test_proxy_that_wants_tls(clock: Callable[[], float]) -> None:
    content = b"<html>400 The plain HTTP request was sent to HTTPS port</html>"
    refusal = UnexpectedResponse(400, "Bad Request", content, httpx.Headers())
    with pytest.raises(EngineUnavailableError, match="https://"):
        caller()("listing", Server(clock, refusal), Patience(600))


def test_grpc_without_trust(clock: Callable[[], float]) -> None:
    details = "failed to connect: Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: self signed certificate"
    server = Server(clock, GrpcFailure(grpc.StatusCode.UNAVAILABLE, details))
    with pytest.raises(EngineUnavailableError, match="not trusted"):
        caller()("listing", server, Patience(600))
    assert server.tries == 1


def test_grpc_that_says_refused_where_it_may_mean_trust(clock: Callable[[], float]) -> None:
    details = "failed to connect to all addresses; last error: UNKNOWN: ipv6:[::1]:6334: Connection refused"
    with pytest.raises(EngineUnavailableError, match="does not read SSL_CERT_FILE"):
        caller()("listing", Server(clock, GrpcFailure(grpc.StatusCode.UNAVAILABLE, details)), Patience(60, 3))


@pytest.mark.parametrize("source", [ssl.SSLEOFError("EOF occurred"), httpx.RemoteProtocolError("disconnected")])
def test_connection_that_breaks_off_is_repeated(clock: Callable[[], float], source: Exception) -> None:
    error = source if isinstance(source, httpx.TransportError) else _with_cause(httpx.ConnectError("x"), source)
    server = Server(clock, ResponseHandlingException(error), comes_back=1)
    assert caller()("listing", server, Patience(60, 5)) == "answer"
