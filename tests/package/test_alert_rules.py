"""Alerts fire where and when deploy/prometheus/alerts_test.yml says, and any slip in a rule shows."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from tests.support.alert_rules import Rule, about, failures, mutants, timelines
from tests.support.places import ROOT
from tests.support.promql import EvaluationError, Labels, Series, UnknownNodeError, value_at

PROMETHEUS = ROOT / "deploy/prometheus"
RULES: list[Rule] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS: dict[str, Any] = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def fails(rule: Rule) -> bool:
    try:
        return bool(failures([rule], about(TESTS, rule["alert"])))
    except EvaluationError:
        return True


def test_alerts_fire_where_and_when_they_should() -> None:
    assert failures(RULES, TESTS) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_no_slip_in_a_rule_goes_unnoticed(rule: Rule) -> None:
    expected = [one for test in about(TESTS, rule["alert"])["tests"] for one in test["promql_expr_test"]]
    assert any(f'alertname="{rule["alert"]}"' in one["expr"] and one["exp_samples"] for one in expected)
    slips = list(mutants(rule))
    assert len(slips) >= 3
    assert [(slip["expr"], slip.get("for")) for slip in slips if not fails(slip)] == []


def promtool(folder: Path, cases: dict[str, tuple[list[Rule], dict[str, Any]]]) -> dict[str, bool]:
    """Whether rules pass tests, by the name of each case."""
    for name, (rules, tests) in cases.items():
        (folder / f"{name}.rules").write_text(yaml.safe_dump({"groups": [{"name": "keydistill", "rules": rules}]}))
        (folder / f"{name}.yml").write_text(yaml.safe_dump({**tests, "rule_files": [f"{name}.rules"]}))
    command = ["promtool", "test", "rules", *(f"{name}.yml" for name in cases)]
    # Failures are said on the other output.
    ended = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    verdicts = re.findall(r"^Unit Testing:  (.+)\.yml\n  (SUCCESS|FAILED)", ended.stdout, re.MULTILINE)
    assert [name for name, _ in verdicts] == list(cases), ended.stdout
    return {name: verdict == "SUCCESS" for name, verdict in verdicts}


def written(labels: Labels) -> str:
    return "ALERTS{{{}}}".format(",".join(f'{name}="{value}"' for name, value in labels if name != "__name__"))


@needs_promtool
def test_promtool_says_the_same_of_the_rules_and_of_slips(tmp_path: Path) -> None:
    cases = {"as-they-are": (RULES, TESTS)}
    for rule in RULES:
        # Each takes promtool a tenth of a second.
        for number, slip in enumerate(list(mutants(rule))[::3]):
            cases[f"{rule['alert']}-{number}"] = ([slip], about(TESTS, rule["alert"]))
    # What the evaluator says of every tenth minute, pending alerts and all labels too.
    told = []
    for timeline in timelines(RULES, TESTS):
        expected = [
            {
                "expr": "ALERTS",
                "eval_time": f"{at}m",
                "exp_samples": [{"labels": written(labels), "value": 1} for labels in alerts],
            }
            for at, alerts in enumerate(timeline.alerts())
            if at % 10 == 0 or at < 10
        ]
        told.append({**timeline.test, "promql_expr_test": expected})
    cases["as-told"] = (RULES, {**TESTS, "tests": told})
    assert {name for name, passed in promtool(tmp_path, cases).items() if passed} == {"as-they-are", "as-told"}


@needs_promtool
def test_promtool_finds_nothing_in_the_rules() -> None:
    command = ["promtool", "check", "rules", "alerts.yml"]
    ended = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "expression",
    [
        *("stddev(a)", "sum without (b) (a)", "abs(a)", "rate(a[10m:1m])"),
        *("a / 2", "-a", "a > bool 1", "a + ignoring (b) a", "a > on (b) group_left (c) a"),
        *("a offset 5m", "a @ 0", 'a{b!~"c"}'),
    ],
)
def test_the_evaluator_refuses_what_it_does_not_know(expression: str) -> None:
    with pytest.raises(UnknownNodeError):
        value_at(promql.parse(expression), {"a": [Series({"__name__": "a"}, [0], [1])]}, 0)


def test_the_evaluator_refuses_what_has_no_value() -> None:
    stored = {"a": [Series({"__name__": "a", "b": b}, [0], [1]) for b in "xy"]}
    with pytest.raises(EvaluationError, match="more than one series on the left"):
        value_at(promql.parse("a > on () sum(a)"), stored, 0)
    with pytest.raises(EvaluationError, match="more than one series on the right"):
        value_at(promql.parse("a > on () group_left () a"), stored, 0)
