"""What the compose file starts of workers, beat and Flower, started as it says. Docker itself is not needed."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from keydistill.settings import load_settings
from keydistill.workers.celery_config import QUEUES, celery_config
from tests.support.cluster import Cluster
from tests.support.compose_files import SERVICES, with_defaults
from tests.support.places import ROOT
from tests.support.ports import free_port

# Of every worker's command, what is the same and not told in docs/workers.md.
LOGGED = " --loglevel INFO ${WORKER_EVENTS:-}"
WORKERS = [*QUEUES, "beat"]


@pytest.mark.parametrize("name", WORKERS)
def test_each_queue_has_its_worker(cluster: Cluster, name: str) -> None:
    service = SERVICES[name]
    assert service["profiles"] == ["workers"]
    assert service["environment"]["NODE"] == name
    assert f"-n {name}@%h" in service["command"]
    if name in QUEUES:
        assert f"worker -Q {name} -P prefork -c {2 if name == 'control' else 1} " in service["command"]
        assert service["command"].removesuffix(LOGGED) in (ROOT / "docs/workers.md").read_text()
    grace_seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert grace_seconds >= celery_config(cluster.settings)["worker_soft_shutdown_timeout"] + 10


def test_one_service_builds_the_image_and_nobody_downloads_it() -> None:
    own_services = [SERVICES[name] for name in WORKERS]
    assert {service["image"] for service in own_services} == {"keydistill"}
    assert [service["pull_policy"] for service in own_services if "build" in service] == ["build"]
    assert {service["pull_policy"] for service in own_services if "build" not in service} == {"never"}


def in_container(cluster: Cluster, name: str, command: list[str], **options: Any) -> subprocess.Popen[str]:
    """A process as the service's container would start it, but of our Redis and engine."""
    service = SERVICES[name]["environment"]
    stated = {key: with_defaults(value) for key, value in service.items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**stated, **cluster.environment, "PATH": path, "HOSTNAME": socket.gethostname()}
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, **options)


def is_healthy(cluster: Cluster, name: str) -> bool:
    kind, command = SERVICES[name]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    # A shorter time to answer than in the file: the test waits for it to pass.
    command = command.replace("$$", "$").replace("--timeout 10", "--timeout 2")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return in_container(cluster, name, ["/bin/sh", "-c", command], **quiet).wait(60) == 0


@pytest.mark.parametrize("name", ["judge", pytest.param("beat", marks=pytest.mark.slow)])
def test_a_service_starts_is_healthy_while_it_works_and_stops_in_time(
    cluster: Cluster, tmp_path: Path, name: str
) -> None:
    with (tmp_path / "log").open("w") as log:
        process = in_container(
            cluster, name, shlex.split(with_defaults(SERVICES[name]["command"])), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 90
        while not is_healthy(cluster, name):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        process.send_signal(signal.SIGSTOP)
        assert not is_healthy(cluster, name)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(int(SERVICES[name]["stop_grace_period"].removesuffix("s"))) == 0
    finally:
        process.kill()
        process.wait()


def answer_of(url: str, **headers: str) -> int:
    try:
        return urlopen(Request(url, headers=headers), timeout=5).status  # type: ignore[no-any-return]
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


def test_flower_shows_workers_to_whoever_has_its_password(cluster: Cluster, tmp_path: Path) -> None:
    port = free_port()
    command = [part.replace("$$", "$").replace("5555", str(port)) for part in SERVICES["flower"]["command"]]
    with (tmp_path / "log").open("w") as log:
        process = in_container(
            cluster, "flower", ["env", "FLOWER_BASIC_AUTH=somebody:looks", *command], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 90
        while answer_of(f"http://127.0.0.1:{port}/healthcheck") != 200:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        assert answer_of(f"http://127.0.0.1:{port}/workers") == 401
        assert answer_of(f"http://127.0.0.1:{port}/api/workers") == 401
        key = b64encode(b"somebody:looks").decode()
        assert answer_of(f"http://127.0.0.1:{port}/workers", Authorization=f"Basic {key}") == 200
        assert "looks" not in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


def test_redis_is_reached_by_its_password_and_from_these_containers_alone() -> None:
    redis = SERVICES["redis"]
    assert "ports" not in redis
    assert "network_mode" not in redis
    password = redis["command"][redis["command"].index("--requirepass") + 1]
    # Compose refuses to start anything without it.
    assert re.fullmatch(r"\$\{REDIS_PASSWORD:\?.+\}", password)
    assert redis["environment"] == {"REDISCLI_AUTH": password}
    for name in WORKERS:
        assert SERVICES[name]["environment"]["KEYDISTILL_REDIS_URL"] == f"redis://:{password}@redis:6379/0"


def test_orders_by_message_name_what_is_mounted_for_them() -> None:
    for name in WORKERS:
        (folder,) = load_settings(
            order_paths=json.loads(SERVICES[name]["environment"]["KEYDISTILL_ORDER_PATHS"])
        ).order_paths or [None]
        assert f"{folder}:ro" in [
            volume.partition(":")[2] for volume in SERVICES[name]["volumes"] if isinstance(volume, str)
        ]
