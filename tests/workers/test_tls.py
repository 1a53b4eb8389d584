"""TLS to Redis, for the store, commands, workers and the beat, with certificates of the tests' own CA."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from keydistill.errors import RedisUnavailableError, SettingsError
from keydistill.runs import open_signs, open_store
from keydistill.settings import Settings, load_settings, redis_address
from keydistill.workers.celery_config import celery_config
from keydistill.workers.transport import is_message
from tests.support.certificates import Certificates, TlsProxy
from tests.support.places import ROOT
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), password="hush") as running:
        yield running


@pytest.fixture(scope="module")
def port(server: RedisServer, certificates: Certificates) -> Iterator[int]:
    with TlsProxy(server.port, certificates.server_context()) as proxy:
        yield proxy.port


@pytest.fixture(scope="module")
def asking_port(server: RedisServer, certificates: Certificates) -> Iterator[int]:
    """The port of a server that asks for a client's certificate."""
    with TlsProxy(server.port, certificates.server_context(asks_clients=True)) as proxy:
        yield proxy.port


def settings_of(home: Path, port: int, query: str = "", /, **options: Path) -> Settings:
    return load_settings(home=home, redis_url=f"rediss://:hush@127.0.0.1:{port}/0{query}", **options)


def use_everything(settings: Settings) -> None:
    """Read by the store, and send through the broker and the result backend, as workers are configured."""
    open_store(settings).all()
    app = Celery("test", set_as_current=False)
    app.conf.update(celery_config(settings))
    app.send_task("nobody.does.this", queue="tls", ignore_result=True)
    app.backend.client.ping()
    app.close()


@pytest.mark.parametrize(
    "query",
    [
        "?ssl_ca_certs={ca}",
        "?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={ca}",
        "?ssl_cert_reqs=required&ssl_ca_certs={ca}",
        "?ssl_cert_reqs=CERT_NONE",
        "?ssl_cert_reqs=none",
    ],
)
def test_every_spelling_works_for_all(tmp_path: Path, port: int, certificates: Certificates, query: str) -> None:
    use_everything(settings_of(tmp_path, port, query.format(ca=certificates.ca)))


def test_the_settings_name_the_certificates(tmp_path: Path, asking_port: int, certificates: Certificates) -> None:
    files = {
        "redis_ca_certificate": certificates.ca,
        "redis_client_certificate": certificates.client,
        "redis_client_key": certificates.client_key,
    }
    use_everything(settings_of(tmp_path, asking_port, "", **files))


@pytest.mark.parametrize("given", [{}, {"redis_ca_certificate": "other_ca"}])
def test_a_certificate_of_another_ca_is_not_trusted(
    tmp_path: Path, server: RedisServer, certificates: Certificates, given: dict[str, str]
) -> None:
    files = {name: getattr(certificates, which) for name, which in given.items()}
    # On a port of its own: kombu's pools of connections know addresses, not options of TLS.
    proxy = TlsProxy(server.port, certificates.server_context())
    settings = settings_of(tmp_path, proxy.port, "", **files)
    with pytest.raises(RedisUnavailableError, match="set redis_ca_certificate to the file of the CA") as caught:
        open_signs(settings).all()
    assert "hush" not in str(caught.value)
    app = Celery("test", set_as_current=False)
    app.conf.update(celery_config(settings))
    with proxy:
        with pytest.raises(OperationalError, match="certificate verify failed"):
            app.send_task("nobody.does.this", queue="tls", ignore_result=True)
        with pytest.raises(RedisConnectionError, match="certificate verify failed"):
            app.backend.client.ping()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa#ss@h:6379/0",
        "redis://:pa/ss@h:6379/0",
        "redis://:pa@ss@h:6379/0",
        "redis://:pa%ss@h:6379/0",
        "redis://:pa?ss@h:6379/0",
        "redis://:pa:ss@h:6379/0",
        "redis://:pa[ss@h:6379/0",
        "redis://:pass@h:port/0",
        "redis://:pass@h:99999/0",
        "redis://:pass@/0",
        "redis://:pass@h:6379/zero",
        "rediss://:pa#ss@h:6379/0?ssl_cert_reqs=none",
        "unix://:pa/ss@/run/redis.sock",
    ],
)
def test_what_is_no_address_says_how_a_password_is_escaped_and_nothing_of_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is no address of a Redis; expected .* # as %23") as caught:
        redis_address(load_settings(home=tmp_path, redis_url=url))
    message = str(caught.value).replace("PASSWORD", "").replace("password", "")
    assert "pa" not in message.replace("a password", "")
    assert "ss@" not in message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sentinel://h:26379/0", "begins with sentinel://, which is not supported: name the primary"),
        ("redis-cluster://h:1", "begins with redis-cluster://, which is not supported"),
        ("pa55word", "names no scheme that is known"),
        ("pa55://x", "names no scheme that is known"),
        ("amqp://h", "begins with amqp://"),
        ("redis://h/0?ssl_cert_reqs=none", "TLS needs rediss://"),
        ("rediss://h/0?ssl_cert_reqs=some", "none of required, optional and none"),
        ("rediss://h/0?ssl_ca_certs=/no/such", "there is no such file: /no/such"),
        ("rediss://h/0?socket_timeout=1", "an option that is not known; it takes ssl_cert_reqs"),
        ("rediss://h/0?ssl_cert_reqs=none&ssl_check_hostname=true", "ssl_check_hostname needs"),
    ],
)
def test_what_is_not_supported_is_refused_in_a_line(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        redis_address(load_settings(home=tmp_path, redis_url=url))
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [1, None, [], {}, {"body": "x"}, {"body": "!", "headers": {}, "properties": {"body_encoding": "base64"}}],
)
def test_what_is_no_message(message: object) -> None:
    assert not is_message(message)


def wait_for(what: Callable[[], object], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def start(settings: dict[str, str], log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYDISTILL_")}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "keydistill.workers.app", *arguments],
            env={**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **settings},
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )


def test_a_worker_and_a_beat_over_tls_which_give_signs_and_throw_away_what_is_no_message(
    tmp_path: Path, port: int, server: RedisServer, certificates: Certificates
) -> None:
    environment = {
        "KEYDISTILL_HOME": str(tmp_path / "home"),
        "KEYDISTILL_REDIS_URL": f"rediss://:hush@127.0.0.1:{port}/0",
        "KEYDISTILL_REDIS_CA_CERTIFICATE": str(certificates.ca),
    }
    log = tmp_path / "log"
    signs = open_signs(load_settings(home=tmp_path, redis_url=server.url))
    worker = start(environment, log, "worker", "-Q", "judge", "-P", "prefork", "-c", "1", "-n", "judge@here")
    beat = start(environment, tmp_path / "beat", "beat", f"--pidfile={tmp_path / 'pid'}")
    try:
        with redis.Redis.from_url(server.url) as client:
            wait_for(lambda: any(sign.queues == ["judge"] for sign in signs.all()), log)
            wait_for(lambda: any(not sign.queues for sign in signs.all()), tmp_path / "beat")
            for garbage in (b"\xff\x00", b"no json", b"[1]", b"{}", b"[" * 100_000):
                client.lpush("keydistill:celery:judge", garbage)
            client.lpush("keydistill:celery:judge", json.dumps({"body": 1, "headers": {}, "properties": {}}))
            wait_for(lambda: log.read_text().count("thrown away") == 6, log)
        assert worker.poll() is None
        assert "ready: judge@here takes messages of judge" in log.read_text()
        (child,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGSTOP)
        wait_for(lambda: any(sign.stopped == [int(child)] for sign in signs.all()), log)
        os.kill(int(child), signal.SIGCONT)
        for process in (worker, beat):
            process.send_signal(signal.SIGTERM)
        assert (worker.wait(30), beat.wait(30)) == (0, 0)
        assert signs.all() == []
    finally:
        for process in (worker, beat):
            process.kill()
            process.wait()


def test_a_beat_without_redis_says_why_and_ends_when_told(tmp_path: Path) -> None:
    environment = {"KEYDISTILL_HOME": str(tmp_path), "KEYDISTILL_REDIS_URL": "redis://:hush@127.0.0.1:1/0"}
    log = tmp_path / "log"
    beat = start(environment, log, "beat", f"--pidfile={tmp_path / 'pid'}")
    try:
        wait_for(lambda: "trying again" in log.read_text(), log)
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(10) == 0
    finally:
        beat.kill()
        beat.wait()
    assert "Connection refused" in log.read_text()
    assert "hush" not in log.read_text()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("beat", "error: Redis at 127.0.0.1"),
        ("call keydistill.prune", "error: Redis at 127.0.0.1"),
        ("result nobody", "error: Redis at 127.0.0.1"),
    ],
)
def test_a_wrong_password_is_one_line(tmp_path: Path, server: RedisServer, command: str, message: str) -> None:
    environment = {
        "KEYDISTILL_HOME": str(tmp_path),
        "KEYDISTILL_REDIS_URL": server.url.replace("hush", "hash-hash"),
    }
    log = tmp_path / "log"
    ended = start(environment, log, *command.split()).wait(60)
    assert ended != 0, log.read_text()
    assert message in log.read_text()
    assert "Traceback" not in log.read_text()
    assert "hash-hash" not in log.read_text()


def test_a_schedule_that_cannot_start_anything_ends_the_beat(tmp_path: Path, server: RedisServer) -> None:
    environment = {
        "KEYDISTILL_HOME": str(tmp_path),
        "KEYDISTILL_REDIS_URL": server.url,
        "KEYDISTILL_SCHEDULES": json.dumps({"x": {"cron": "0 3 * * *", "task": "sync", "kwargs": {"file": "y"}}}),
    }
    log = tmp_path / "log"
    assert start(environment, log, "beat", f"--pidfile={tmp_path / 'pid'}").wait(60) != 0
    assert "error: schedule 'x' cannot start anything: sync, 'file'" in log.read_text() or "'files'" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_report_shows_no_password(tmp_path: Path, server: RedisServer) -> None:
    log = tmp_path / "log"
    environment = {"KEYDISTILL_HOME": str(tmp_path), "KEYDISTILL_REDIS_URL": server.url}
    assert start(environment, log, "report").wait(60) == 0
    assert "hush" not in log.read_text()
