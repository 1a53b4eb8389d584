"""The compose files, rule by rule, as implementations of compose read them. No container is started."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from compose_spec import PyCompose

from keydistill.settings.storage import StorageSettings
from keydistill.workers.celery_config import QUEUES
from tests.support.compose_files import (
    BASE,
    PROFILES,
    SECRETS,
    SERVICES,
    TLS,
    TLS_SERVICES,
    docker_compose,
    has_docker_compose,
    podman_compose,
    services,
)
from tests.support.places import ROOT

Config = Callable[..., subprocess.CompletedProcess[str]]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("keydistill")}
ALWAYS = {"qdrant", "redis"}


@pytest.fixture(
    params=[
        podman_compose,
        pytest.param(
            docker_compose,
            marks=pytest.mark.skipif(not has_docker_compose(), reason="the plugin compose of docker is not installed"),
        ),
    ],
    ids=["podman-compose", "docker-compose"],
)
def config(request: pytest.FixtureRequest) -> Config:
    implementation: Config = request.param
    return implementation


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Both files with their variables replaced."""
    done = {file: podman_compose(tmp_path_factory.mktemp("podman"), SECRETS, file) for file in (BASE, TLS)}
    assert all(one.returncode == 0 for one in done.values()), [one.stderr for one in done.values()]
    return {file: one.stdout for file, one in done.items()}


@pytest.mark.parametrize("file", [BASE, TLS], ids=["base", "tls"])
def test_the_file_follows_the_compose_specification(read: dict[Path, str], file: Path) -> None:
    checked = PyCompose.from_yaml(read[file])
    checked.validate()
    assert set(checked.service_names()) == set(SERVICES if file == BASE else TLS_SERVICES)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "readonly: true"),
        ("restart: unless-stopped", "restart: sometimes"),
        ("keydistill:/data", "keydistil:/data"),
        ("condition: service_healthy", "condition: well"),
    ],
)
def test_the_check_of_the_specification_finds_mistakes(read: dict[Path, str], right: str, wrong: str) -> None:
    text = read[BASE]
    assert right in text
    with pytest.raises(ValueError, match=r"\w"):
        PyCompose.from_yaml(text.replace(right, wrong)).validate()


def test_both_files_together_can_be_read(tmp_path: Path, config: Config) -> None:
    done = config(tmp_path, SECRETS, BASE, TLS)
    assert done.returncode == 0, done.stderr
    assert set(services(done.stdout)) == set(SERVICES)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\$\{(\w+):\?", BASE.read_text()))))
@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_without_a_secret_nothing_starts_and_the_error_names_it(
    tmp_path: Path, config: Config, name: str, value: str | None
) -> None:
    rest = {key: text for key, text in SECRETS.items() if key != name}
    done = config(tmp_path, rest if value is None else {**rest, name: value}, BASE)
    assert done.returncode != 0
    assert re.search(rf"required variable {name} is missing a value: set it to", done.stderr)


@pytest.mark.parametrize(
    ("name", "secret", "needs"),
    [("flower", "FLOWER_BASIC_AUTH", "environment"), ("grafana", "GRAFANA_PASSWORD", "file")],
)
def test_what_a_profile_alone_needs_is_asked_for_when_it_starts(
    tmp_path: Path, name: str, secret: str, needs: str
) -> None:
    # Compose would ask for it in all profiles.
    service = SERVICES[name]
    shell, option, script = service["entrypoint"] if "entrypoint" in service else service["command"]
    assert (shell, option) == ("sh", "-c")
    password = tmp_path / "password"
    started = re.sub(r"exec .*", "echo started", script.replace("$$", "$"))
    started = started.replace("/run/secrets/grafana_password", str(password))
    for given, output in (("", ""), ("text", "started\n")):
        password.write_text(given if needs == "file" else "")
        environment = {secret: given} if needs == "environment" else {}
        done = subprocess.run(["sh", "-c", started], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == output
        assert done.stderr.startswith(f"{secret} is missing: set it to") == (not given)
        assert done.returncode == (0 if given else 2)


def test_every_service_has_limits_of_memory_and_cpu(read: dict[Path, str]) -> None:
    limited = services(read[BASE])
    assert set(limited) == set(SERVICES)
    for service in limited.values():
        assert re.fullmatch(r"\d+(m|g)", str(service["mem_limit"]))
        assert 0 < float(service["cpus"]) <= 4


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    kind, *command = check["test"]
    assert kind in ("CMD", "CMD-SHELL")
    assert command
    assert {"interval", "timeout", "retries"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_bounded_log(name: str) -> None:
    logging = SERVICES[name]["logging"]
    assert logging["driver"] == "json-file"
    assert re.fullmatch(r"\d+m", logging["options"]["max-size"])
    assert int(logging["options"]["max-file"]) <= 5


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_writes_beside_its_volumes(name: str) -> None:
    assert SERVICES[name]["read_only"] is True


def test_qdrant_and_redis_start_alone_and_everything_else_by_its_profile() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == ALWAYS
    assert {profile for service in SERVICES.values() for profile in service.get("profiles", ())} == set(PROFILES)
    by_profile = {
        profile: {name for name, service in SERVICES.items() if profile in service.get("profiles", ())}
        for profile in PROFILES
    }
    assert by_profile["monitoring"] == {"exporter", "prometheus", "grafana"}
    assert by_profile["workers"] == {*QUEUES, "beat"}
    # One beat.
    assert sum(" beat " in f" {service.get('command', '')} " for service in SERVICES.values()) == 1
    assert by_profile["serve"] == {"serve"}


def test_logs_traces_and_storage_are_passed_on_and_count_as_unset_where_they_are_not_given(tmp_path: Path) -> None:
    given = {
        "KEYDISTILL_LOG_FORMAT": "json",
        "KEYDISTILL_OTLP_ENDPOINT": "http://collector:4318",
        "KEYDISTILL_SHARDS": "6",
        "KEYDISTILL_REPLICAS": "2",
        "KEYDISTILL_WRITE_CONSISTENCY": "2",
        "KEYDISTILL_PLACEMENT": '{"graph": "pinned"}',
        "KEYDISTILL_TENANT": "site",
        "KEYDISTILL_STRICT_MODE": '{"max_query_limit": 1000}',
        "KEYDISTILL_QUANTIZATION": "turbo4",
        "KEYDISTILL_HNSW_M": "24",
        "KEYDISTILL_HNSW_EF_CONSTRUCT": "200",
    }
    of_logs = set(list(given)[:2])
    assert {f"KEYDISTILL_{name.upper()}" for name in StorageSettings.model_fields} == set(given) - of_logs
    for values in (given, {}):
        done = podman_compose(tmp_path, {**SECRETS, **values}, BASE)
        read = services(done.stdout)
        for name in OURS:
            # What it does not build it is not told.
            passed_on = of_logs if name == "serve" else set(given)
            environment = {key: str(value or "") for key, value in read[name]["environment"].items()}
            assert {key: environment[key] for key in passed_on} == {key: values.get(key, "") for key in passed_on}
            assert not environment["OTEL_EXPORTER_OTLP_HEADERS"]


def test_data_is_kept_in_volumes() -> None:
    named = yaml.safe_load(BASE.read_text())["volumes"]
    places = {"qdrant": "/qdrant/storage", "redis": "/data", "prometheus": "/prometheus", "grafana": "/var/lib/grafana"}
    for name, place in {**places, "control": "/data", "serve": "/data"}.items():
        mounts = [volume.split(":") for volume in SERVICES[name]["volumes"] if isinstance(volume, str)]
        (source,) = [mount[0] for mount in mounts if mount[1] == place]
        assert source in named


def test_redis_forgets_nothing() -> None:
    for service in (SERVICES["redis"], TLS_SERVICES["redis"]):
        options = service["command"]
        for option, value in (("--maxmemory-policy", "noeviction"), ("--appendonly", "yes")):
            assert options[options.index(option) + 1] == value


def test_images_of_others_are_pinned_and_can_be_pinned_by_digest() -> None:
    others = {name: service["image"] for name, service in SERVICES.items() if name not in OURS}
    for image in others.values():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image)
    recipe = (ROOT / "Makefile").read_text().partition("\ndigests:\n")[2].partition("\n\n")[0]
    named = recipe.partition("--lock-image-digests")[2].partition(">")[0].replace("\\", " ").split()
    assert set(named) == set(others)
    assert "/docker-compose.digests.yml\n" in (ROOT / ".gitignore").read_text()
