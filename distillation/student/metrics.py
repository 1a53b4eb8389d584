"""Rank metrics over scored pairs, vectorised: they are computed many times during a training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.pairs import places_within


def ndcg_per_group(
    groups: NDArray[np.int64], scores: NDArray[Any], gains: NDArray[Any], k: int = 10
) -> NDArray[np.float64]:
    """nDCG@k of groups (Järvelin and Kekäläinen, TOIS 2002; gains as given, discount log2(rank + 1)).

    Args:
        groups: The group of each pair, say its item, from 0 on without a gap; shape (n,).
        scores: Scores that rank the pairs within a group, shape (n,).
        gains: Gain of each pair, not negative, shape (n,).
        k: Cut-off.

    Returns:
        One figure for each group that has different gains, in the order of their numbers: of equal ones every ranking
        is as good.

    >>> groups, scores, gains = np.array([0, 0, 1, 1]), np.array([2, 1, 2, 1]), np.array([1, 0, 0, 1])
    >>> ndcg_per_group(groups, scores, gains).round(4).tolist()  # 1 and 1 / log2(3)
    [1.0, 0.6309]
    """
    ideal = _dcg(groups, gains, gains, k)
    reached = _dcg(groups, scores, gains, k)
    counted = groups_that_differ(groups, gains)
    return reached[counted] / ideal[counted]


def groups_that_differ(groups: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a group has different values, shape (groups,); arguments as in `ndcg_per_group`.

    >>> groups_that_differ(np.array([0, 0, 1, 2, 2]), np.array([1, 1, 0, 0, 1])).tolist()
    [False, False, True]
    """
    highest = np.full(groups.max(initial=-1) + 1, -np.inf)
    lowest = -highest
    np.maximum.at(highest, groups, values)
    np.minimum.at(lowest, groups, values)
    return highest > lowest


def favouring_later(scores: NDArray[np.float64], progress: float) -> float:
    """The worth of a checkpoint: its mean score, and up to two standard errors of it for how late it is.

    A few held-out items cannot tell checkpoints apart that are about as good. Then the later one is kept, whose
    learning rate has fallen lower. A checkpoint that is clearly worse stays so.

    Args:
        scores: Score of each held-out item, shape (n,).
        progress: Share of the training that is done, from 0 to 1.

    >>> spread = np.array([0.9, 1.0, 1.0, 0.9])
    >>> favouring_later(spread, 0.5) < favouring_later(spread - 0.02, 1.0)
    True
    >>> favouring_later(spread, 0.5) < favouring_later(spread - 0.1, 1.0)
    False
    """
    # A single list tells no two checkpoints apart.
    error = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else 1.0
    return float(scores.mean() + 2 * progress * error)


def clearly_worse(scores: NDArray[np.float64] | None, than: NDArray[np.float64] | None) -> bool:
    """Whether the mean difference of paired scores is below zero: the 95% interval of Student's t is.

    That is two standard errors for many scores, and more for few; a single pair of scores shows nothing.

    >>> before = np.array([0.5, 0.7, 0.6])
    >>> clearly_worse(before - 0.1, before), clearly_worse(before + 0.1, before), clearly_worse(before, None)
    (True, False, False)
    >>> clearly_worse(np.array([0.1]), np.array([0.9]))
    False
    """
    if scores is None or than is None or len(scores) < 2:
        return False
    from scipy.stats import t

    differences = scores - than
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() < -t.ppf(0.975, len(differences) - 1) * error)


def _dcg(groups: NDArray[np.int64], scores: NDArray[Any], gains: NDArray[Any], k: int) -> NDArray[np.float64]:
    order = np.lexsort((-scores, groups))
    ordered = groups[order]
    rank = places_within(ordered)
    discounted_gains = np.where(rank < k, gains[order] / np.log2(rank + 2), 0)
    return np.bincount(ordered, weights=discounted_gains).astype(np.float64)
