"""Alerts, runbook and dashboard speak of what there is, and of all that there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

import keydistill.errors
from keydistill.cli.main import COMMANDS
from keydistill.errors import KeydistillError
from keydistill.exporter import exposition
from keydistill.settings import load_settings
from tests.support.places import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the families of exporter and service; those of Redis are in the sources."""
    settings = load_settings(home=tmp_path_factory.mktemp("home"))
    names = set(re.findall(r"^# TYPE (\S+)", exposition(settings), re.MULTILINE))
    service = set(re.findall(r'"(keydistill_\w+)"', (ROOT / "keydistill/serve/metrics.py").read_text()))
    source = "".join(path.read_text() for path in (ROOT / "keydistill/exporter").glob("*.py"))
    of_redis = {f"keydistill_{name}" for name in re.findall(r'gauge\(\s*"(\w+)"', source)}
    assert names & of_redis
    return names | of_redis | service


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_what_is_asked_for_is_exported(exported: set[str], where: str, expression: str) -> None:
    names: set[str] = set()

    def note(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            assert node.name is not None
            names.add(node.name)

    promql.walk(promql.parse(expression), note)
    # What Prometheus knows of itself.
    for name in names - {"up", "ALERTS"}:
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        assert {name, base} & exported, f"{where}: nobody exports {name}"


def test_every_alert_has_its_entry_in_the_runbook() -> None:
    for rule in RULES:
        name = rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
    headings = re.findall(r"^### (\w+)\n\n\*Means:\* .+  \n\*Cause:\* .+  \n\*Run:\* .+$", RUNBOOK, re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in RULES)


def test_every_error_has_its_entry_in_the_runbook() -> None:
    classes = {
        name
        for name, value in vars(keydistill.errors).items()
        if isinstance(value, type) and issubclass(value, KeydistillError) and value is not KeydistillError
    }
    assert set(re.findall(r"^\| `(\w+Error)` \|", RUNBOOK, re.MULTILINE)) == classes


def test_the_runbook_names_commands_that_exist() -> None:
    named = re.findall(r"`keydistill ([a-z]+)", RUNBOOK)
    assert named
    assert set(named) <= set(COMMANDS) | {"errors"}


def test_dashboards_can_be_provisioned() -> None:
    assert DASHBOARDS
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/keydistill.yml").read_text())
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    (datasource,) = source["datasources"]
    assert Path(provider["providers"][0]["options"]["path"]).name == "dashboards"
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert board["uid"] == path.stem
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
        assert len(set(places)) == len(places)
        for panel in board["panels"]:
            assert panel["type"] == "row" or panel["datasource"]["uid"] == datasource["uid"]
