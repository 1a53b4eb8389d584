"""What containers may, who reaches them, and what is put into images: compose file, Dockerfile, Prometheus' targets."""

import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from keydistill.settings import load_settings
from tests.support.compose_files import SERVICES, TLS_SERVICES, with_defaults
from tests.support.places import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text()
ENVIRONMENT = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_image_gets_what_is_installed_and_nothing_else() -> None:
    # The package, and the folders that its links lead to.
    package = ROOT / "keydistill"
    code = {package.name} | {entry.readlink().name for entry in package.iterdir() if entry.is_symlink()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert let_in == code | {"deploy/locks", "pyproject.toml", "README.md", "LICENSE"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_has_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert service["read_only"] is True
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
    # Prometheus (nobody), Grafana (472) and the exporter have users of their own.
    assert (
        image.endswith("-unprivileged")
        or service.get("user")
        or image.startswith(("prom/", "grafana/", "danihodovic/"))
    )


def test_every_stage_of_our_image_ends_as_a_user() -> None:
    stages = {stage.partition("\n")[0].split()[-1]: stage for stage in DOCKERFILE.split("\nFROM ")[1:]}
    assert list(stages) == ["wheel", "service-packages", "base", "service", "worker-gpu", "worker"]
    for name in ("service", "worker-gpu", "worker"):
        assert "\nUSER keydistill\n" in stages[name]
    for service in SERVICES.values():
        if "build" in service:
            assert with_defaults(service["build"]["target"]) in stages


def test_every_secret_is_asked_for_and_none_has_a_default() -> None:
    given = dict(re.findall(r"^(\w+)=(.*)$", ENVIRONMENT, re.MULTILINE))
    assert set(given.values()) == {""}
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    secrets = {secret["environment"] for secret in yaml.safe_load(COMPOSE)["secrets"].values()}
    assert needed | secrets | {"KEYDISTILL_SERVE_KEYS", "FLOWER_BASIC_AUTH"} == set(given)
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
        if "dns_sd_configs" in job:
            # Of a profile that may be off: no such name is no target.
            (found,) = job["dns_sd_configs"]
            assert SERVICES[found["names"][0]]["profiles"] == [job["job_name"]]
            continue
        (target,) = job["static_configs"][0]["targets"]
        host, _, port = target.partition(":")
        assert host in SERVICES
        if host == "serve":
            assert f"127.0.0.1:{port}:{load_settings().serve_port}" in SERVICES[host]["ports"]
        credentials = job.get("authorization", {}).get("credentials_file")
        assert credentials is None or Path(credentials).name in secrets


def test_tls_reaches_everybody_who_talks_to_redis_or_qdrant() -> None:
    overrides = TLS_SERVICES
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


def test_ports_are_open_to_this_machine_alone() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
