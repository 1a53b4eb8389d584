"""Intervals of an assistant's metrics where pairs of one keyphrase come or stay together: a percentile bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.assistant.verdicts import approved_by, rejected_by, shares_right
from keydistill.distillation.evaluation import MIN_GROUPS, grouped_auc, weights

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of 95% of a share or an area, from 0 to 1."""

    low: float = 0.0
    high: float = 1.0

    def widened(self, other: Interval) -> Interval:
        """The interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True, slots=True)
class AucWithin:
    """A mean AUC within groups, or of differences of it; its interval of 95%, and the number of groups.

    Figures are None where groups are too few.
    """

    value: float | None
    low: float | None
    high: float | None
    groups: int


def clustered_interval(
    logits: NDArray[np.floating], labels: NDArray[np.bool_], groups: NDArray[np.intp], *, seed: int
) -> Interval:
    """The interval of the AUC over all pairs.

    Args:
        logits: Shape (n,).
        labels: Shape (n,).
        groups: Number of the group of each pair, from 0 without a gap; shape (n,).
        seed: Seed of the resamples.

    Returns:
        The interval; 0 to 1 where hardly a resample has pairs of both kinds, as with one group.
    """
    from sklearn.metrics import roc_auc_score

    count = int(groups.max()) + 1
    areas = []
    for draw in _draws(count, seed):
        drawn = draw[groups]
        if drawn[labels].any() and drawn[~labels].any():
            areas.append(float(roc_auc_score(labels, logits, sample_weight=drawn)))
    return _interval(np.array(areas), count)


def auc_within(
    logits: NDArray[np.floating], labels: NDArray[np.bool_], groups: NDArray[np.intp], *, seed: int
) -> AucWithin:
    """The mean of the AUC within each group that has pairs of both kinds; arguments as in `clustered_interval`."""
    return _mean_within(grouped_auc(groups.astype(np.int64), logits, labels), seed)


def gain_within(
    logits: NDArray[np.floating],
    others: NDArray[np.floating],
    labels: NDArray[np.bool_],
    groups: NDArray[np.intp],
    *,
    seed: int,
) -> AucWithin:
    """What `auc_within` is above that of other scores of the same pairs (`others`, shape (n,)), group by group."""
    return _mean_within(
        grouped_auc(groups.astype(np.int64), logits, labels) - grouped_auc(groups.astype(np.int64), others, labels),
        seed,
    )


def _mean_within(figures: NDArray[np.float64], seed: int) -> AucWithin:
    """The mean over groups and its interval; nan where a group has no figure."""
    figures = figures[~np.isnan(figures)]
    if len(figures) < MIN_GROUPS:
        return AucWithin(None, None, None, len(figures))
    interval = _interval(_draws(len(figures), seed) @ figures / len(figures), len(figures))
    return AucWithin(float(figures.mean()), interval.low, interval.high, len(figures))


def verdict_intervals(
    probabilities: NDArray[np.floating], labels: NDArray[np.bool_], groups: NDArray[np.intp], *, seed: int
) -> tuple[Interval, Interval]:
    """The intervals of both shares of `verdicts_right`; arguments as in `clustered_interval`."""
    numbers = np.unique(groups, return_inverse=True)[1]
    counts = np.stack(
        [
            np.bincount(numbers, kind & chosen)
            for kind in (labels, ~labels)
            for chosen in (np.ones(len(labels), dtype=bool), approved_by(probabilities), rejected_by(probabilities))
        ],
        axis=1,
    )
    drawn = _draws(len(counts), seed) @ counts
    both = drawn[(drawn[:, 0] > 0) & (drawn[:, 3] > 0)]
    shares = np.array([shares_right(*row) for row in both.tolist()]).reshape(-1, 2)
    approved, rejected = (_interval(shares[:, place], len(counts)) for place in (0, 1))
    return approved, rejected


def _draws(groups: int, seed: int) -> NDArray[np.float64]:
    """The number of draws of each group by each resample, shape (resamples, groups)."""
    return next(weights(groups, seed, _RESAMPLES, rows=_RESAMPLES))


def _interval(resampled: NDArray[np.float64], groups: int) -> Interval:
    if groups < 2 or len(resampled) < _RESAMPLES / 2:
        return Interval()
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(float(low), float(high))
