"""The cheapest search settings that find enough, for one shape of filter.

Recall decides what is allowed, latency what is chosen. Settings are tried from the cheapest up: a ladder of `ef` per
oversampling, with and without ACORN, each climbed to its first rung that finds enough. A later ladder costs more at the
same rung, so that it is only climbed to the rung below.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from keydistill.vectorstore import SearchParams

EFS = (32, 64, 128, 256, 512)
OVERSAMPLINGS = (1.0, 2.0, 3.0, 4.0)
EXACT = SearchParams(exact=True)
# Size of a group of queries below which its mean says too little to refuse by.
_LEAST_IN_GROUP = 30
# Number of rungs on which each query finds the same, after which more candidates find no more.
_EQUAL_RUNGS = 3
# Normal quantile of a one-sided 95% interval.
_Z = 1.645
_REPEATS = 5
# Settings that take this many times the fastest one's seconds for all queries together are not timed one by one.
_WORTH_TIMING = 3.0
# Medians up to this ratio count as equal. Among settings that are not surely slower than the fastest, those that find
# more are chosen, but exact search, which gets slower with every further point, comes last.
_AS_FAST = 1.03

Floats = NDArray[np.float64]


class Measuring(Protocol):
    """Queries of a shape that can be measured under search settings, as `ShapeQueries` can."""

    groups: list[str]
    exact_seconds: float

    def shares(self, params: SearchParams) -> tuple[Floats, float]:
        """The share that each query finds of its exact list, and the seconds that all took together."""

    def milliseconds(self, params: SearchParams) -> Floats:
        """Latency of single queries."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The measured recall and latency of search settings.

    Attributes:
        params: The settings.
        recall: Mean recall@10 against exact search.
        recall_low: Lower end of its one-sided 95% interval, by the normal approximation.
        p50_ms: Median latency of single queries: the median of several passes, which alternate with those of other
            settings.
        p99_ms: 99th percentile of the latency: the least of the passes, because whatever else the machine does only
            adds to it.
    """

    params: SearchParams
    recall: float
    recall_low: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen settings, those that they are compared with, and how many were tried.

    Attributes:
        before: Figures of the present settings.
        chosen: Figures of the cheapest settings that find enough.
        reached: Whether any settings besides exact search find enough.
        tried: Number of settings whose recall was measured.
    """

    before: Figures
    chosen: Figures
    reached: bool
    tried: int


def choose(shape_queries: Measuring, target: float, before: SearchParams, *, filtered: bool, quantized: bool) -> Choice:
    """Measure search settings and choose the cheapest that find enough.

    Args:
        shape_queries: The queries of one filter shape.
        target: Least recall@10, as `finds_enough` tests it.
        before: The present settings, measured for comparison, and chosen if nothing is cheaper.
        filtered: Whether the shape restricts anything; without a filter ACORN changes nothing.
        quantized: Whether the collection has quantized vectors; without them oversampling changes nothing.
    """
    tried: dict[SearchParams, tuple[Floats, float]] = {before: shape_queries.shares(before)}
    enough = list(_climbed(shape_queries, target, tried, filtered, quantized))
    if finds_enough(tried[before][0], shape_queries.groups, target) and before not in enough:
        enough.append(before)
    seconds = {params: tried[params][1] for params in enough}
    tried[EXACT] = np.ones(len(shape_queries.groups)), shape_queries.exact_seconds
    seconds[EXACT] = shape_queries.exact_seconds
    bound = _WORTH_TIMING * min(seconds.values())
    allowed = [params for params, took in seconds.items() if took <= bound]
    times = _timed(shape_queries, list(dict.fromkeys([before, *allowed])))
    figures = {params: _figures(params, tried[params][0], passes) for params, passes in times.items()}
    fastest = min(allowed, key=lambda params: figures[params].p50_ms)
    chosen = max(
        (figures[params] for params in allowed if not _surely_slower(times[params], times[fastest])),
        key=lambda each: (not each.params.exact, each.recall, -each.p50_ms),
    )
    return Choice(figures[before], chosen, bool(enough), len(tried) - 1)


def finds_enough(shares: Floats, groups: Sequence[str], target: float) -> bool:
    """Whether recall surely reaches the target: the lower end of its interval does, and the mean of every group does.

    >>> finds_enough(np.ones(60), ["leaf"] * 60, 0.98)
    True
    >>> finds_enough(np.r_[np.ones(570), np.full(30, 0.7)], ["leaf"] * 570 + ["above"] * 30, 0.98)
    False
    """
    if lower_bound(shares) < target:
        return False
    names = np.array(groups)
    return all(
        shares[names == name].mean() >= target for name in set(groups) if (names == name).sum() >= _LEAST_IN_GROUP
    )


def lower_bound(shares: Floats) -> float:
    """Lower end of the one-sided 95% interval of the mean.

    >>> lower_bound(np.ones(50)), round(lower_bound(np.array([0.9, 1.0] * 50)), 4)
    (1.0, 0.9417)
    """
    if len(shares) < 2:
        return 0.0
    return max(0.0, float(shares.mean() - _Z * shares.std(ddof=1) / math.sqrt(len(shares))))


def _climbed(
    shape_queries: Measuring,
    target: float,
    tried: dict[SearchParams, tuple[Floats, float]],
    filtered: bool,
    quantized: bool,
) -> Iterator[SearchParams]:
    """Climb the ladders; yields the first rung of each that finds enough."""
    rungs = len(EFS)
    for acorn in (False, True) if filtered else (False,):
        for oversampling in OVERSAMPLINGS if quantized else OVERSAMPLINGS[:1]:
            below: list[Floats] = []
            for rung, ef in enumerate(EFS[:rungs]):
                params = SearchParams(ef=ef, oversampling=oversampling, acorn=acorn)
                if params not in tried:
                    tried[params] = shape_queries.shares(params)
                shares = tried[params][0]
                if finds_enough(shares, shape_queries.groups, target):
                    yield params
                    rungs = rung
                    break
                below.append(shares)
                if len(below) >= _EQUAL_RUNGS and all(np.array_equal(shares, each) for each in below[-_EQUAL_RUNGS:]):
                    break


def _timed(shape_queries: Measuring, settings: list[SearchParams]) -> dict[SearchParams, list[Floats]]:
    """Latencies of several passes for each of the settings, in turns, so that a busy machine slows all alike."""
    times: dict[SearchParams, list[Floats]] = {params: [] for params in settings}
    for repeat in range(_REPEATS):
        first = repeat % len(settings)
        for params in settings[first:] + settings[:first]:
            times[params].append(shape_queries.milliseconds(params))
    return times


def _surely_slower(passes: Sequence[Floats], fastest: Sequence[Floats]) -> bool:
    """Whether the median was greater in every pass, and by more than what counts as equal over all of them."""
    medians, fastest_medians = (np.array([np.median(each) for each in one]) for one in (passes, fastest))
    return bool((medians > fastest_medians).all() and np.median(medians) > np.median(fastest_medians) * _AS_FAST)


def _figures(params: SearchParams, shares: Floats, passes: Sequence[Floats]) -> Figures:
    return Figures(
        params,
        recall=float(shares.mean()),
        recall_low=lower_bound(shares),
        p50_ms=float(np.median([np.median(each) for each in passes])),
        p99_ms=float(min(np.quantile(each, 0.99) for each in passes)),
    )
