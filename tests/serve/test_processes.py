"""Several processes behind one port, the end of a service, and TLS."""

import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keydistill.client import Client, Retries
from tests.serve.conftest import TITLES, Home
from tests.support.service_process import PATIENCE_SECONDS, ServiceProcess

BODY = {"items": [{"title": title} for title in TITLES]}


def children(process: ServiceProcess) -> set[int]:
    """The processes that serve: those with an event loop, not the helper of multiprocessing."""
    text = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text()
    return {pid for pid in map(int, text.split()) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.fixture(scope="module")
def two(home: Home) -> Iterator[ServiceProcess]:
    with ServiceProcess(home.folder, "--processes", "2") as process:
        yield process


def metrics_of(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def wait_for_both(process: ServiceProcess) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while metrics_of(process.url)["keydistill_ready_processes"] != 2:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_killed_process_is_started_again_and_no_client_notices(two: ServiceProcess) -> None:
    wait_for_both(two)
    before = children(two)
    assert len(before) == 2
    over = threading.Event()
    failures: list[Exception] = []
    answered = 0

    def ask() -> None:
        nonlocal answered
        with Client(two.url, retries=Retries(most=20), timeout_seconds=60) as client:
            while not over.is_set():
                try:
                    client.recommend(TITLES[:1], limit=1)
                    answered += 1
                except Exception as error:
                    failures.append(error)

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for thread in asking:
        thread.start()
    killed = min(before)
    try:
        os.kill(killed, signal.SIGKILL)
        until = time.monotonic() + PATIENCE_SECONDS
        while len(children(two) - {killed}) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        # The gauge of the killed one is forgotten, and what was counted stays.
        wait_for_both(two)
    finally:
        over.set()
        for thread in asking:
            thread.join()
    assert failures == []
    assert answered > 0
    counted = metrics_of(two.url)
    name = 'keydistill_http_request_duration_seconds_count{method="POST",path="/v1/recommend",status="200"}'
    # An answer to a process that was killed right after it may not have been counted yet.
    assert counted[name] >= answered - 4
    assert counted["keydistill_queue_items"] == 0


def test_sigterm_ends_what_is_in_flight_first(home: Home) -> None:
    # A request waits for others for a second: it is in flight when the signal comes.
    with ServiceProcess(home.folder, serve_batch_wait_ms="1000") as service:
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{service.url}/v1/recommend", json=BODY, timeout=60))
        )
        asking.start()
        until = time.monotonic() + PATIENCE_SECONDS
        # More than the one that the service asks itself.
        while metrics_of(service.url)["keydistill_queue_items"] < len(TITLES):
            assert time.monotonic() < until
        service.end()
        asking.join()
        assert [answer.status_code for answer in answers] == [200]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/livez")


def test_with_a_certificate_it_speaks_https(home: Home, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    with ServiceProcess(home.folder, "--tls-cert", str(certificate), "--tls-key", str(key), ready=False) as service:
        assert service.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{service.url}/livez", verify=trusting, timeout=30).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/livez", timeout=30)
