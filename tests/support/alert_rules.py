"""Alert rules tried as `promtool test rules` tries them, and what a slip of the pen would make of them.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/ describes the files; what is not
read of them is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import promql_parser as promql

from tests.support.promql import Labels, Series, Stored, labels_of, value_at

Rule: TypeAlias = dict[str, Any]

_STEP = re.compile(r"(?P<first>_|-?\d+)(?P<by>[+-]\d+)?(x(?P<times>\d+))?")
# What each part of an expression is mistaken for; a number, for its double and its half.
_SLIPS = [
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r" == ", (" != ",)),
        # Whether the limit itself counts makes a difference for whole numbers alone.
        (r" > ", (" < ",)),
        (r" >= ", (" < ", " > ")),
        (r" < ", (" > ",)),
        (r"\bunless\b", ("and",)),
        (r"\band\b", ("or",)),
        (r"\bor\b", ("unless",)),
        (r"""\b\w+=~?"[^"]*",?""", ("",)),
        (r"""\b\w+!="[^"]*",?""", ("",)),
    )
]
_NUMBER = re.compile(r"(?<![\w.\[])\d+(\.\d+)?(?![\w.\]])")


def mutants(rule: Rule) -> Iterator[Rule]:
    """The rule with one slip in it: a sign, a number, a label, or how long it must hold."""
    expression = rule["expr"]
    for pattern, instead in _SLIPS:
        for place in pattern.finditer(expression):
            for other in instead:
                yield {**rule, "expr": expression[: place.start()] + other + expression[place.end() :]}
    for place in _NUMBER.finditer(expression):
        number = float(place[0])
        for changed in (2 * number, number / 2) if number else (1,):
            yield {**rule, "expr": f"{expression[: place.start()]}{changed:g}{expression[place.end() :]}"}
    held = _seconds(rule.get("for", "0m"))
    for seconds in (held + 60, held - 60) if held else (60,):
        yield {**rule, "for": f"{seconds:.0f}s"}


def about(tests: dict[str, Any], alert: str) -> dict[str, Any]:
    """The tests with what is said of one alert, or of all together."""
    kept = []
    for test in tests["tests"]:
        asked = [one for one in test["promql_expr_test"] if not re.search(rf'alertname="(?!{alert}")', one["expr"])]
        if asked:
            kept.append({**test, "promql_expr_test": asked})
    return {**tests, "tests": kept}


def failures(rules: list[Rule], tests: dict[str, Any]) -> list[str]:
    """What is not as a file of tests expects it, one line each."""
    return [line for timeline in timelines(rules, tests) for line in timeline.failures()]


def timelines(rules: list[Rule], tests: dict[str, Any]) -> Iterator["Timeline"]:
    _only(tests, "rule_files", "evaluation_interval", "tests")
    for test in tests["tests"]:
        yield Timeline(rules, test, _seconds(tests["evaluation_interval"]))


@dataclass(frozen=True)
class Timeline:
    """One test: series, rules that are evaluated again and again, and what is expected when."""

    rules: list[Rule]
    test: dict[str, Any]
    every: float

    def alerts(self) -> list[list[Labels]]:
        """The series ALERTS of each evaluation, up to the last that something is expected of."""
        stored = self._stored()
        last = max(_seconds(one["eval_time"]) for one in self.test["promql_expr_test"])
        count = int(last / self.every) + 1
        of_rules = [list(self._states(rule, stored, count)) for rule in self.rules]
        return [[labels for states in of_rules for labels in states[at]] for at in range(count)]

    def failures(self) -> Iterator[str]:
        _only(self.test, "name", "interval", "input_series", "promql_expr_test")
        stored, alerts = self._stored(), self.alerts()
        for one in self.test["promql_expr_test"]:
            _only(one, "expr", "eval_time", "exp_samples")
            now = _seconds(one["eval_time"])
            of_alerts = [Series(dict(labels), [now], [1.0]) for labels in alerts[int(now / self.every)]]
            value = value_at(_parsed(one["expr"]), {**stored, "ALERTS": of_alerts}, now)
            wanted = {frozenset(_labels(sample["labels"]).items()): sample["value"] for sample in one["exp_samples"]}
            if value != wanted:
                yield f"{self.test['name']}: {one['expr']} at {one['eval_time']} is {value}; expected {wanted}"

    def _stored(self) -> Stored:
        stored: dict[str, list[Series]] = {}
        for given in self.test["input_series"]:
            series = _series(given["series"], given["values"], _seconds(self.test["interval"]))
            stored.setdefault(series.labels["__name__"], []).append(series)
        return stored

    def _states(self, rule: Rule, stored: Stored, count: int) -> Iterator[list[Labels]]:
        _only(rule, "alert", "expr", "for", "labels", "annotations")
        expression, held = _parsed(rule["expr"]), _seconds(rule.get("for", "0m"))
        since: dict[Labels, float] = {}
        for at in range(count):
            now = at * self.every
            vector = value_at(expression, stored, now)
            assert not isinstance(vector, float)
            active = {frozenset(label for label in labels if label[0] != "__name__") for labels in vector}
            since = {labels: since.get(labels, now) for labels in active}
            yield [
                frozenset(
                    {
                        **dict(labels),
                        **rule["labels"],
                        "__name__": "ALERTS",
                        "alertname": rule["alert"],
                        "alertstate": "firing" if now - begun >= held else "pending",
                    }.items()
                )
                for labels, begun in since.items()
            ]


def _series(written: str, values: str, interval: float) -> Series:
    """A series as the notation of promtool has it, such as 0+10x120 and _x5.

    >>> _series("a", "1 _ 5-2x2", 60)
    Series(labels={'__name__': 'a'}, times=[0, 120, 180, 240], values=[1.0, 5.0, 3.0, 1.0])
    """
    series = Series(labels_of(written))
    at = 0
    for part in values.split():
        step = _STEP.fullmatch(part)
        if step is None:
            raise NotImplementedError(f"{part!r} in the values of {written}")
        missing = step["first"] == "_"
        times = int(step["times"] or (1 if missing else 0)) + (not missing)
        for number in range(times):
            if not missing:
                series.times.append(at * interval)
                series.values.append(float(step["first"]) + number * float(step["by"] or 0))
            at += 1
    return series


def _labels(written: str) -> dict[str, str]:
    labels = labels_of(written if not written.startswith("{") else f"x{written}")
    return {name: value for name, value in labels.items() if name != "__name__"}


@cache
def _parsed(expression: str) -> promql.Expr:
    return promql.parse(expression)


def _seconds(duration: str) -> float:
    # The parser's own refuses zero.
    written = re.fullmatch(r"(\d+)([smhd])", duration)
    if written is None:
        raise NotImplementedError(f"duration {duration!r}")
    return float(written[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[written[2]]


def _only(mapping: dict[str, Any], *known: str) -> None:
    if unknown := set(mapping) - set(known):
        raise NotImplementedError(f"{', '.join(sorted(unknown))} in {mapping.get('name', mapping)}")
