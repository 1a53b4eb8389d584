"""The Helm chart: rendered by Helm's engine for several values, and checked by the schemas of Kubernetes."""

import json
import re
import shlex
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from keydistill.cli.main import cli
from keydistill.settings import load_settings
from keydistill.settings.storage import StorageSettings
from keydistill.workers.celery_config import QUEUES
from tests.support.chart import CHART, Manifest, environment, named, pods, render, values_of, with_value
from tests.support.compose_files import SERVICES as COMPOSE
from tests.support.helm import HelmRefusalError, helm_of
from tests.support.places import ROOT

KINDS = ("least", "full", "external")
RENDERED = {kind: render(values_of(kind)) for kind in KINDS}
PODS = {kind: pods(manifests) for kind, manifests in RENDERED.items()}
EVERY_POD = [pytest.param(pod, id=f"{kind}-{name}") for kind in KINDS for name, pod in PODS[kind].items()]
WORKERS = {*QUEUES, "beat"}
LEAST = values_of("least")


@pytest.mark.parametrize("kind", KINDS)
def test_helm_has_nothing_to_say_against_it(kind: str) -> None:
    report = helm_of(CHART).ask(what="lint", values=values_of(kind))
    assert report["errors"] == []
    # That it has no icon.
    assert set(report["messages"]) <= {"icon is recommended"}


@pytest.mark.parametrize("version", ["1.25", "1.37"])
@pytest.mark.parametrize("kind", KINDS)
def test_kubernetes_knows_every_field(kind: str, version: str) -> None:
    of_the_operator = {"ServiceMonitor", "PrometheusRule"}
    checked = [one for one in RENDERED[kind] if one["kind"] not in of_the_operator]
    assert len(checked) >= 8
    for manifest in checked:
        kubernetes_validate.validate(manifest, version, strict=True)
    mistaken = {**checked[0], "spek": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(mistaken, version, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_given_once(kind: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in RENDERED[kind]]
    assert len(set(names)) == len(names)


def test_the_parts_are_those_of_the_compose_file() -> None:
    # Prometheus and Grafana are an operator's business; it gets monitors, rules and the dashboard.
    assert set(PODS["full"]) == set(COMPOSE) - {"prometheus", "grafana"}
    assert set(PODS["least"]) == set(PODS["full"]) - {"flower", "celery-exporter"}
    assert set(PODS["external"]) == {*WORKERS, "serve"}
    deployments = named(RENDERED["least"], "Deployment")
    assert deployments["beat"]["spec"]["replicas"] == 1
    assert deployments["beat"]["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("pod", EVERY_POD)
def test_no_container_has_more_than_it_needs(pod: Manifest) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    assert "readinessProbe" in container
    assert not any("hostPath" in volume for volume in spec["volumes"])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    declared = {volume["name"] for volume in spec["volumes"]}
    assert declared <= mounted <= declared | {"storage", "data"}


@pytest.mark.parametrize("pod", EVERY_POD)
def test_secrets_are_references(pod: Manifest) -> None:
    for name, value in environment(pod).items():
        if re.search(r"API_KEY|PASSWORD|AUTH|SERVE_KEYS|HEADERS", name):
            assert isinstance(value, tuple), f"{name} stands in the chart"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["serve", *sorted(WORKERS)])
def test_variables_are_settings_of_the_product(kind: str, name: str) -> None:
    texts = {key: value for key, value in environment(PODS[kind][name]).items() if key.startswith("KEYDISTILL_")}
    settings = {key.removeprefix("KEYDISTILL_").lower() for key in texts}
    assert settings <= set(type(load_settings()).model_fields)
    # And each value is one that the setting takes, but for the secrets and what names files of the container.
    plain = {key.removeprefix("KEYDISTILL_").lower(): value for key, value in texts.items() if isinstance(value, str)}
    values = {key: value for key, value in plain.items() if not value.startswith(("/certificates/", "/serve-tls/"))}
    values = {key: json.loads(value) if value.startswith(("[", "{")) else value for key, value in values.items()}
    load_settings(**values)


def test_how_collections_are_stored_is_said_to_all_by_its_own_values() -> None:
    storage = values_of("full")["storage"]
    names = {re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name): name for name in storage}
    assert set(names) == set(StorageSettings.model_fields)
    for pod in ("serve", *sorted(WORKERS)):
        variables = environment(PODS["full"][pod])
        texts = {name: variables[f"KEYDISTILL_{name.upper()}"] for name in names}
        read = {name: json.loads(text) if text.startswith("{") else text for name, text in texts.items()}
        assert StorageSettings(**read).model_dump() == {name: storage[theirs] for name, theirs in names.items()}
    given = set(environment(PODS["least"]["embed"]))
    assert not {f"KEYDISTILL_{name.upper()}" for name in names} & given


@pytest.mark.parametrize("name", ["serve", "exporter", *sorted(WORKERS)])
def test_logs_and_traces_are_set_for_all_of_ours_at_once(name: str) -> None:
    variables = environment(PODS["full"][name])
    assert variables["KEYDISTILL_LOG_FORMAT"] == "json"
    assert variables["KEYDISTILL_OTLP_ENDPOINT"] == "http://collector.observability:4318"
    assert variables["OTEL_EXPORTER_OTLP_HEADERS"] == ("collector-headers", "headers")
    unset = environment(PODS["least"][name])
    assert not [key for key in unset if "LOG_FORMAT" in key or "OTLP" in key]


@pytest.mark.parametrize("name", ["serve", "exporter"])
def test_commands_are_those_of_the_product(name: str) -> None:
    (container,) = PODS["full"][name]["spec"]["containers"]
    program, *arguments = container["command"]
    assert program == "keydistill"
    # Parses, and runs nothing.
    group = cli.make_context("keydistill", [*arguments])
    _, command, rest = cli.resolve_command(group, arguments)
    assert command is not None
    context = command.make_context(name, rest, parent=group)
    given = {parameter: value for parameter, value in context.params.items() if value is not None}
    assert name == "serve" or (given["host"], given["port"]) == ("0.0.0.0", 9465)
    assert container["ports"] == [{"name": "http", "containerPort": given.get("port") or load_settings().serve_port}]


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_workers_do_what_they_do_in_compose(name: str) -> None:
    (container,) = PODS["least"][name]["spec"]["containers"]
    in_compose = COMPOSE[name]
    assert container["command"] == shlex.split(in_compose["command"].removesuffix(" ${WORKER_EVENTS:-}"))
    probe = container["readinessProbe"]["exec"]["command"]
    assert probe[-1] == in_compose["healthcheck"]["test"][-1].replace("$$", "$")
    variables = environment(PODS["least"][name])
    # What is empty there unless somebody sets it is not there at all here.
    of_compose = {key for key, value in in_compose["environment"].items() if not str(value).endswith(":-}")}
    of_compose -= {"HF_HUB_OFFLINE"}
    assert of_compose <= set(variables)
    assert variables["NODE"] == name
    assert "--task-events" not in container["command"]
    if name in QUEUES:
        assert "--task-events" in PODS["full"][name]["spec"]["containers"][0]["command"]


def test_the_service_can_read_alone() -> None:
    variables = environment(PODS["full"]["serve"])
    assert variables["KEYDISTILL_QDRANT_API_KEY"] == ("qdrant-keys", "read-only-api-key")
    assert variables["KEYDISTILL_SERVE_KEYS"] == ("serve-keys", "keys")
    assert not any("REDIS" in name for name in variables)
    assert environment(PODS["full"]["embed"])["KEYDISTILL_QDRANT_API_KEY"] == ("qdrant-keys", "api-key")


def test_servers_elsewhere_are_asked_with_tls() -> None:
    variables = environment(PODS["external"]["embed"])
    assert variables["KEYDISTILL_QDRANT_URL"] == "https://qdrant.example:6333"
    assert variables["KEYDISTILL_REDIS_URL"] == "rediss://:$(REDIS_PASSWORD)@redis.example:6380/2"
    # Kubernetes puts in what stands above alone.
    order = list(variables)
    assert order.index("REDIS_PASSWORD") < order.index("KEYDISTILL_REDIS_URL")
    for kind, scheme in (("least", "http"), ("full", "https")):
        assert environment(PODS[kind]["embed"])["KEYDISTILL_QDRANT_URL"] == f"{scheme}://shop-qdrant:6333"


@pytest.mark.parametrize("kind", KINDS)
def test_tls_reaches_everybody_or_nobody(kind: str) -> None:
    for name, pod in PODS[kind].items():
        (container,) = pod["spec"]["containers"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert ("/certificates" in mounts) == (kind != "least"), name
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {}).get("httpGet", {})
            if name in ("qdrant", "serve"):
                assert asked["scheme"] == ("HTTPS" if kind == "full" else "HTTP"), name


def test_the_service_grows_and_is_never_taken_away_whole() -> None:
    least, external = RENDERED["least"], RENDERED["external"]
    scaler = named(least, "HorizontalPodAutoscaler")["serve"]["spec"]
    serve = named(least, "Deployment")["serve"]
    assert scaler["scaleTargetRef"]["name"] == serve["metadata"]["name"]
    # The scaler's number would be undone by every upgrade.
    assert "replicas" not in serve["spec"]
    assert named(external, "HorizontalPodAutoscaler") == named(external, "PodDisruptionBudget") == {}
    assert named(external, "Deployment")["serve"]["spec"]["replicas"] == 3
    assert set(named(least, "PodDisruptionBudget")) == {"serve", "embed"}
    for name, budget in named(least, "PodDisruptionBudget").items():
        selected = budget["spec"]["selector"]["matchLabels"].items()
        assert selected <= PODS["least"][name]["metadata"]["labels"].items()


def test_services_and_monitors_lead_to_pods() -> None:
    manifests = RENDERED["full"]
    services = named(manifests, "Service")
    for name, service in services.items():
        assert service["spec"]["selector"].items() <= PODS["full"][name]["metadata"]["labels"].items()
        (container,) = PODS["full"][name]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports
    monitors = named(manifests, "ServiceMonitor")
    assert set(monitors) == {"serve", "exporter", "qdrant", "celery-exporter"}
    jobs = set()
    for name, monitor in monitors.items():
        assert monitor["spec"]["selector"]["matchLabels"].items() <= services[name]["metadata"]["labels"].items()
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in services[name]["spec"]["ports"]}
        jobs.add(endpoint["relabelings"][0]["replacement"])
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert jobs == {job["job_name"] for job in prometheus["scrape_configs"]}


def test_rules_and_dashboard_are_those_of_compose() -> None:
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    assert named(RENDERED["full"], "PrometheusRule")["alerts"]["spec"] == alerts
    board = named(RENDERED["full"], "ConfigMap")["dashboard"]["data"]["keydistill.json"]
    assert board == (ROOT / "deploy/grafana/dashboards/keydistill.json").read_text()
    assert not named(RENDERED["least"], "ServiceMonitor")


def test_policies_let_in_whoever_has_business_there() -> None:
    policies = named(RENDERED["full"], "NetworkPolicy")
    assert set(policies) == set(PODS["full"]) | {"qdrant-grpc"}
    for name, policy in policies.items():
        chosen = policy["spec"]["podSelector"]["matchLabels"].items()
        assert chosen <= PODS["full"][name.removesuffix("-grpc")]["metadata"]["labels"].items()
        if name in WORKERS | {"flower"}:
            assert policy["spec"]["ingress"] == []
    (redis,) = policies["redis"]["spec"]["ingress"]
    (peer,) = redis["from"]
    assert set(peer["podSelector"]["matchExpressions"][0]["values"]) == {
        *WORKERS,
        "exporter",
        "flower",
        "celery-exporter",
    }
    (qdrant,) = policies["qdrant"]["spec"]["ingress"]
    ours, scrapers = qdrant["from"]
    assert "serve" in ours["podSelector"]["matchExpressions"][0]["values"]
    assert scrapers == values_of("full")["networkPolicy"]["scrapers"][0]
    assert named(RENDERED["external"], "NetworkPolicy") == {}


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("secrets.qdrant", "", "/secrets/qdrant"),
        ("secrets.redis", "", "/secrets/redis"),
        ("secrets.serveKeys", "Not a name", "/secrets/serveKeys"),
        ("secrets.password", "text", "password"),
        ("flower.enabled", True, "/secrets/flower"),
        ("tls.enabled", True, "/tls"),
        ("qdrant.enabled", False, "/qdrant/url"),
        ("qdrant.url", "https://qdrant.example", "/qdrant/url"),
        ("redis.enabled", False, "/redis/host"),
        ("serve.replica", 3, "replica"),
        ("serve.processes", "two", "/serve/processes"),
        ("serve.resources.limits.cpu", None, "/serve/resources"),
        ("serve.autoscaling.cpuPercent", 0, "cpuPercent"),
        ("workers.embed.concurrency", 0, "concurrency"),
        ("workers.sort", {}, "sort"),
        ("images.qdrant.tag", "latest", "/images/qdrant"),
        ("images.redis.digest", "sha256:12", "/images/redis/digest"),
        ("settings.KEYDISTILL_JUDGE_API_KEY", "text", "KEYDISTILL_JUDGE_API_KEY"),
        ("settings.KEYDISTILL_REDIS_URL", "redis://:text@host", "KEYDISTILL_REDIS_URL"),
        ("settings.PATH", "/tmp", "PATH"),
        ("settings.KEYDISTILL_SHARDS", 6, "KEYDISTILL_SHARDS"),
        ("settings.KEYDISTILL_LOG_FORMAT", "json", "KEYDISTILL_LOG_FORMAT"),
        ("storage.shards", 0, "/storage/shards"),
        ("storage.shard", 6, "shard"),
        ("storage.placement", {"graph": "warm"}, "/storage/placement"),
        ("telemetry.logFormat", "xml", "/telemetry/logFormat"),
        ("telemetry.otlpEndpoint", "collector:4318", "/telemetry/otlpEndpoint"),
        ("monitoring.serviceMonitors", True, "scrapers"),
    ],
)
def test_the_schema_refuses(path: str, value: Any, error: str) -> None:
    render(LEAST)
    with pytest.raises(HelmRefusalError, match=re.escape(error)):
        render(with_value(LEAST, path, value))


def test_without_values_it_names_the_secrets_that_are_missing() -> None:
    with pytest.raises(HelmRefusalError) as refused:
        render({})
    for name in ("qdrant", "redis", "serveKeys"):
        assert f"/secrets/{name}" in str(refused.value)


def test_a_long_name_is_still_a_name() -> None:
    for manifest in render(LEAST, "a-release-whose-name-is-as-long-as-helm-lets-it-be-53"):
        assert len(manifest["metadata"]["name"]) <= 63


def test_the_chart_is_of_the_products_version() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version
    assert {values["images"][name]["tag"] for name in ("service", "worker")} == {version}
    for name, service in (("qdrant", "qdrant"), ("redis", "redis"), ("celeryExporter", "celery-exporter")):
        image = values["images"][name]
        assert f"{image['repository']}:{image['tag']}" == COMPOSE[service]["image"]
