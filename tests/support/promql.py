"""A small evaluator of PromQL: what alert rules use of it, where there is no Prometheus. All else is an error.

It follows https://prometheus.io/docs/prometheus/latest/querying/ of version 3, whose windows leave out their left end.
"""

import itertools
import math
import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import promql_parser as promql

Labels: TypeAlias = frozenset[tuple[str, str]]
# One value per set of labels; the name of a metric is the label __name__.
Vector: TypeAlias = dict[Labels, float]
Window: TypeAlias = list[tuple[float, float]]
# The series of each metric, by its name.
Stored: TypeAlias = Mapping[str, list["Series"]]

# How far an instant looks back for a sample, in seconds.
_LOOKBACK = 300.0
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_SETS = ("and", "or", "unless")
_AGGREGATIONS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "count": lambda values: float(len(values)),
}


class UnknownNodeError(NotImplementedError):
    """An expression has a part that this evaluator does not know."""


class EvaluationError(ValueError):
    """An expression has no value, as where many series match many."""


@dataclass
class Series:
    # With the name of the metric as __name__.
    labels: dict[str, str]
    # Seconds, ascending.
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def labels_of(series: str) -> dict[str, str]:
    """The labels of a series as it is written, such as up{job="serve"}."""
    selector = promql.parse(series)
    if not isinstance(selector, promql.VectorSelector) or selector.name is None:
        raise UnknownNodeError(f"{series!r} is no name of a series")
    return {"__name__": selector.name, **{matcher.name: matcher.value for matcher in selector.matchers.matchers}}


def value_at(expression: promql.Expr, stored: Stored, now: float) -> float | Vector:
    """The value of a parsed expression at a time in seconds.

    Raises:
        UnknownNodeError: The expression uses what this evaluator lacks.
        EvaluationError: Prometheus would not evaluate it either.
    """
    return _Evaluation(stored, now).of(expression)


@dataclass(frozen=True)
class _Evaluation:
    stored: Stored
    now: float

    def of(self, node: Any) -> float | Vector:
        match node:
            case promql.NumberLiteral():
                return float(node.val)
            case promql.ParenExpr():
                return self.of(node.expr)
            case promql.VectorSelector():
                windows = self._windows(node, _LOOKBACK)
                return {labels: window[-1][1] for labels, window in windows.items()}
            case promql.AggregateExpr():
                return self._aggregated(node)
            case promql.Call():
                return self._called(node)
            case promql.BinaryExpr():
                return self._joined(node)
        raise UnknownNodeError(f"{type(node).__name__} in {node}")

    def vector(self, node: Any) -> Vector:
        value = self.of(node)
        if isinstance(value, float):
            raise EvaluationError(f"{node} is a number; expected a vector")
        return value

    def _windows(self, selector: promql.VectorSelector, seconds: float) -> dict[Labels, Window]:
        """The samples of each selected series within the seconds that end now; series without any are left out."""
        if selector.offset or selector.at or selector.matchers.or_matchers or selector.name is None:
            raise UnknownNodeError(f"{selector}: an offset, @, `or`, or no name")
        found = {}
        for series in self.stored.get(selector.name, ()):
            if not all(_fits(one, series.labels.get(one.name, "")) for one in selector.matchers.matchers):
                continue
            first = bisect_right(series.times, self.now - seconds)
            last = bisect_right(series.times, self.now)
            if first < last:
                found[frozenset(series.labels.items())] = list(
                    zip(series.times[first:last], series.values[first:last], strict=True)
                )
        return found

    def _called(self, call: promql.Call) -> float | Vector:
        name = call.func.name
        if name == "time" and not call.args:
            return self.now
        if name not in ("rate", "deriv"):
            raise UnknownNodeError(f"function {name}")
        (matrix,) = call.args
        if not isinstance(matrix, promql.MatrixSelector):
            raise UnknownNodeError(f"{type(matrix).__name__} in {call}")
        seconds = matrix.range.total_seconds()
        values = {}
        for labels, window in self._windows(matrix.vector_selector, seconds).items():
            if len(window) > 1:
                values[_unnamed(labels)] = _rate(window, self.now, seconds) if name == "rate" else _slope(window)
        return values

    def _aggregated(self, node: promql.AggregateExpr) -> Vector:
        if str(node.op) not in _AGGREGATIONS or node.param is not None:
            raise UnknownNodeError(f"aggregation {node.op}")
        if node.modifier is not None and node.modifier.type != promql.AggModifierType.By:
            raise UnknownNodeError(f"aggregation {node.modifier}")
        names = set() if node.modifier is None else set(node.modifier.labels)
        groups: dict[Labels, list[float]] = {}
        for labels, value in self.vector(node.expr).items():
            groups.setdefault(_only(labels, names), []).append(value)
        return {labels: _AGGREGATIONS[str(node.op)](values) for labels, values in groups.items()}

    def _joined(self, node: promql.BinaryExpr) -> float | Vector:
        sign, modifier = str(node.op), node.modifier
        if sign not in (*_ARITHMETIC, *_COMPARISONS, *_SETS):
            raise UnknownNodeError(f"operator {sign}")
        if modifier is not None and not _known(modifier):
            raise UnknownNodeError(f"{modifier} in {node}")
        if sign in _SETS:
            return _of_sets(sign, self.vector(node.lhs), self.vector(node.rhs), _key(modifier))
        left, right = self.of(node.lhs), self.of(node.rhs)
        if isinstance(left, float) and isinstance(right, float):
            return _ARITHMETIC[sign](left, right)
        if isinstance(left, float) or isinstance(right, float):
            return _with_number(sign, left, right)
        return _of_pairs(sign, left, right, modifier)


def _fits(matcher: promql.Matcher, value: str) -> bool:
    match matcher.op:
        case promql.MatchOp.Equal:
            return value == matcher.value
        case promql.MatchOp.NotEqual:
            return value != matcher.value
        case promql.MatchOp.Re:
            return re.fullmatch(matcher.value, value) is not None
    raise UnknownNodeError(f"matcher {matcher}")


def _rate(window: Window, now: float, seconds: float) -> float:
    """Increase per second, resets of the counter counted in, extrapolated to the ends of the window.

    https://github.com/prometheus/prometheus/blob/main/promql/functions.go (extrapolatedRate)
    """
    times, values = [time for time, _ in window], [value for _, value in window]
    increase = values[-1] - values[0]
    increase += math.fsum(before for before, after in itertools.pairwise(values) if after < before)
    covered = times[-1] - times[0]
    between = covered / (len(window) - 1)
    to_start, to_end = times[0] - (now - seconds), now - times[-1]
    to_start, to_end = (gap if gap < 1.1 * between else between / 2 for gap in (to_start, to_end))
    if increase > 0 and values[0] >= 0:
        # A counter begins at zero.
        to_start = min(to_start, covered * values[0] / increase)
    return increase * (covered + to_start + to_end) / covered / seconds


def _slope(window: Window) -> float:
    """Slope per second of the straight line that fits best."""
    times = [time for time, _ in window]
    mean_time, mean = math.fsum(times) / len(window), math.fsum(value for _, value in window) / len(window)
    spread = math.fsum((time - mean_time) ** 2 for time in times)
    together = math.fsum((time - mean_time) * (value - mean) for time, value in window)
    return together / spread


def _unnamed(labels: Labels) -> Labels:
    return frozenset(label for label in labels if label[0] != "__name__")


def _only(labels: Labels, names: set[str]) -> Labels:
    return frozenset(label for label in labels if label[0] in names)


def _known(modifier: promql.BinModifier) -> bool:
    """Whether there is nothing but `on (...)` and `group_left ()`."""
    by_names = modifier.matching is None or modifier.matching.type == promql.LabelModifierType.Include
    fills = (modifier.fill_values.lhs, modifier.fill_values.rhs)
    to_many = modifier.card == promql.VectorMatchCardinality.OneToMany
    return by_names and not (modifier.return_bool or modifier.group_labels or to_many) and fills == (None, None)


def _key(modifier: promql.BinModifier | None) -> Callable[[Labels], Labels]:
    """What series of both sides must have in common."""
    if modifier is None or modifier.matching is None:
        return _unnamed
    names = set(modifier.matching.labels)
    return lambda labels: _only(labels, names)


def _of_sets(sign: str, left: Vector, right: Vector, key: Callable[[Labels], Labels]) -> Vector:
    if sign == "or":
        there = {key(labels) for labels in left}
        return {**left, **{labels: value for labels, value in right.items() if key(labels) not in there}}
    there = {key(labels) for labels in right}
    return {labels: value for labels, value in left.items() if (key(labels) in there) == (sign == "and")}


def _with_number(sign: str, left: float | Vector, right: float | Vector) -> Vector:
    vector = right if isinstance(left, float) else left
    assert not isinstance(vector, float)
    values: Vector = {}
    for labels, value in vector.items():
        first, second = (left if isinstance(left, float) else value), (right if isinstance(right, float) else value)
        if sign in _ARITHMETIC:
            values[_unnamed(labels)] = _ARITHMETIC[sign](first, second)
        elif _COMPARISONS[sign](first, second):
            values[labels] = value
    return values


def _of_pairs(sign: str, left: Vector, right: Vector, modifier: promql.BinModifier | None) -> Vector:
    """Values of series that match, one with one, or many on the left with one on the right."""
    many = modifier is not None and modifier.card == promql.VectorMatchCardinality.ManyToOne
    narrows = modifier is not None and modifier.matching is not None and not many
    key = _key(modifier)
    others = _once(right, key, f"right of {sign}")
    if not many:
        _once(left, key, f"left of {sign}")
    values: Vector = {}
    for labels, value in left.items():
        other = others.get(key(labels))
        if other is None:
            continue
        kept = key(labels) if narrows else labels
        if sign in _ARITHMETIC:
            values[_unnamed(kept)] = _ARITHMETIC[sign](value, other)
        elif _COMPARISONS[sign](value, other):
            values[kept] = value
    return values


def _once(vector: Vector, key: Callable[[Labels], Labels], side: str) -> Vector:
    """The values by what must match, of which each is there once."""
    keyed: Vector = {}
    for labels, value in vector.items():
        if key(labels) in keyed:
            raise EvaluationError(f"more than one series on the {side} has {dict(key(labels))}")
        keyed[key(labels)] = value
    return keyed
