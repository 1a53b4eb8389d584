"""The files that put workers into service: constraints, image, compose file. Docker itself is not needed."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from keydistill.settings import load_settings
from keydistill.workers.celery_config import QUEUES, celery_config
from tests.support.cluster import Cluster
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
WORKERS = [*QUEUES, "beat"]


def constraints() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def own_requirements() -> list[Requirement]:
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in groups for text in group]
    # The extra `all` asks for other extras.
    return [requirement for requirement in requirements if requirement.name != PROJECT["project"]["name"]]


def test_constraints_fit_what_we_ask_for() -> None:
    pinned = constraints()
    for requirement in own_requirements():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.skipif(sys.version_info[:2] != (3, 11) or sys.platform != "linux", reason="pins are for 3.11 on Linux")
def test_constraints_pin_everything_that_is_installed_with_it() -> None:
    pinned = constraints()
    seen: set[str] = set()
    waiting = own_requirements()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} stands in no line of constraints.txt"
        # torch's own depend on its build: CUDA's packages come with some.
        if str(requirement) in seen or name == "torch":
            continue
        seen.add(str(requirement))
        for text in requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)


def test_the_image_gets_what_is_installed_and_nothing_else() -> None:
    # The package, and the folders that its links lead to.
    package = ROOT / "keydistill"
    code = {package.name} | {entry.readlink().name for entry in package.iterdir() if entry.is_symlink()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert let_in == code | {"constraints.txt", "pyproject.toml", "README.md", "LICENSE"}


def test_the_server_is_of_the_version_of_its_client() -> None:
    client = next(one for one in own_requirements() if one.name == "qdrant-client")
    assert client.specifier.contains(SERVICES["qdrant"]["image"].partition(":v")[2].removesuffix("-unprivileged"))


@pytest.mark.parametrize("name", WORKERS)
def test_each_queue_has_its_worker(cluster: Cluster, name: str) -> None:
    service = SERVICES[name]
    assert service["profiles"] == ["workers"]
    assert service["environment"]["NODE"] == name
    assert f"-n {name}@%h" in service["command"]
    if name in QUEUES:
        assert f"worker -Q {name} -P prefork -c {2 if name == 'control' else 1} " in service["command"]
        assert service["command"].removesuffix(" --loglevel INFO") in (ROOT / "docs/workers.md").read_text()
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
    stated = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in service.items()}
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


@pytest.mark.parametrize("name", ["judge", "beat"])
def test_a_service_starts_is_healthy_while_it_works_and_stops_in_time(
    cluster: Cluster, tmp_path: Path, name: str
) -> None:
    with (tmp_path / "log").open("w") as log:
        process = in_container(cluster, name, shlex.split(SERVICES[name]["command"]), stdout=log, stderr=log)
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


def test_ports_are_open_to_this_machine_alone() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_orders_by_message_name_what_is_mounted_for_them() -> None:
    for name in WORKERS:
        (folder,) = load_settings(
            order_paths=json.loads(SERVICES[name]["environment"]["KEYDISTILL_ORDER_PATHS"])
        ).order_paths or [None]
        assert f"{folder}:ro" in [
            volume.partition(":")[2] for volume in SERVICES[name]["volumes"] if isinstance(volume, str)
        ]


COMPOSE = (ROOT / "docker-compose.yml").read_text()
ENVIRONMENT = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_has_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    # Qdrant marks its start in its own folder.
    assert service.get("read_only") is (None if name == "qdrant" else True)
    assert not service.get("privileged")
    assert all("docker.sock" not in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_runs_as_root_or_as_whatever_is_the_latest(name: str) -> None:
    service = SERVICES[name]
    image = service["image"]
    if image.startswith("keydistill"):
        assert service["pull_policy"] in ("build", "never")
        return
    assert re.search(r":v?\d+\.\d+", image)
    # Prometheus (nobody) and Grafana (472) have users of their own.
    assert image.endswith("-unprivileged") or service.get("user") or image.startswith(("prom/", "grafana/"))


def test_every_stage_of_our_image_ends_as_a_user() -> None:
    stages = {stage.partition("\n")[0].split()[-1]: stage for stage in DOCKERFILE.split("\nFROM ")[1:]}
    assert list(stages) == ["wheel", "base", "service", "worker-gpu", "worker"]
    for name in ("service", "worker-gpu", "worker"):
        assert "\nUSER keydistill\n" in stages[name]
    assert "[serve]" in stages["service"]
    assert "torch" not in stages["service"]
    for service in SERVICES.values():
        if "build" in service:
            assert re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["build"]["target"]) in stages


def test_every_secret_is_asked_for_and_none_has_a_default() -> None:
    given = dict(re.findall(r"^(\w+)=(.*)$", ENVIRONMENT, re.MULTILINE))
    assert set(given.values()) == {""}
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    secrets = {secret["environment"] for secret in yaml.safe_load(COMPOSE)["secrets"].values()}
    assert needed | secrets | {"KEYDISTILL_SERVE_KEYS"} == set(given)
    optional = set(re.findall(r"\$\{(\w+):-", COMPOSE)) - set(given)
    assert optional <= set(re.findall(r"^# (\w+)=", ENVIRONMENT, re.MULTILINE))
    assert "/.env\n" in (ROOT / ".gitignore").read_text()


def test_the_service_may_read_alone_and_is_served_with_keys() -> None:
    environment = SERVICES["serve"]["environment"]
    assert environment["KEYDISTILL_QDRANT_API_KEY"].startswith("${KEYDISTILL_QDRANT_READ_ONLY_API_KEY:?")
    assert SERVICES["qdrant"]["environment"]["QDRANT__SERVICE__READ_ONLY_API_KEY"].startswith(
        "${KEYDISTILL_QDRANT_READ_ONLY_API_KEY:?"
    )
    # Empty, it is no key, and without one the service does not listen to others.
    assert environment["KEYDISTILL_SERVE_KEYS"] == "${KEYDISTILL_SERVE_KEYS:-}"
    assert environment["KEYDISTILL_SERVE_HOST"] == "0.0.0.0"
    assert "KEYDISTILL_REDIS_URL" not in environment


def test_what_prometheus_scrapes_is_there() -> None:
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    secrets = SERVICES["prometheus"]["secrets"]
    for job in jobs:
        (target,) = job["static_configs"][0]["targets"]
        host, _, port = target.partition(":")
        assert host in SERVICES
        if host == "serve":
            assert f"127.0.0.1:{port}:{load_settings().serve_port}" in SERVICES[host]["ports"]
        credentials = job.get("authorization", {}).get("credentials_file")
        assert credentials is None or Path(credentials).name in secrets


def test_tls_reaches_everybody_who_talks_to_redis_or_qdrant() -> None:
    overrides = yaml.safe_load((ROOT / "docker-compose.tls.yml").read_text())["services"]
    assert set(overrides) <= set(SERVICES)
    mounted = "./certificates:/certificates:ro"
    for name, service in SERVICES.items():
        environment, override = service.get("environment", {}), overrides.get(name, {})
        for part, scheme in (("QDRANT", "https://"), ("REDIS", "rediss://")):
            if f"KEYDISTILL_{part}_URL" in environment:
                assert override["environment"][f"KEYDISTILL_{part}_URL"].startswith(scheme)
                assert override["environment"][f"KEYDISTILL_{part}_CA_CERTIFICATE"] == "/certificates/ca.pem"
                assert mounted in override["volumes"]
    for name in ("qdrant", "redis"):
        assert mounted in overrides[name]["volumes"]
        assert overrides[name]["healthcheck"]["test"]
    # But for ports and certificates, Redis is started as without TLS.
    plain, tls = SERVICES["redis"]["command"], overrides["redis"]["command"]
    assert set(plain) <= set(tls)
    assert tls[tls.index("--port") + 1] == "0"
    settings = [name.removeprefix("KEYDISTILL_").lower() for name in overrides["control"]["environment"]]
    assert set(settings) <= set(type(load_settings()).model_fields)
    names = ("prometheus.yml", "prometheus.tls.yml")
    jobs, with_tls = (
        {
            job["job_name"]: job
            for job in yaml.safe_load((ROOT / "deploy/prometheus" / name).read_text())["scrape_configs"]
        }
        for name in names
    )
    assert with_tls["qdrant"] == {
        **jobs["qdrant"],
        "scheme": "https",
        "tls_config": {"ca_file": "/certificates/ca.pem"},
    }
    assert {**with_tls, "qdrant": None} == {**jobs, "qdrant": None}
