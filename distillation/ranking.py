"""Rank metrics over scored pairs, vectorised: they are taken many times during a training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distillation.batches import places_within


def mean_ndcg(groups: NDArray[np.int64], scores: NDArray[Any], gains: NDArray[Any], k: int = 10) -> float:
    """Mean nDCG@k over groups (Järvelin and Kekäläinen, TOIS 2002; gains as given, discount log2(rank + 1)).

    Args:
        groups: The group of each pair, say its item; shape (n,).
        scores: What ranks the pairs within a group, shape (n,).
        gains: What a pair is worth, not negative, shape (n,).
        k: Cut-off.

    Returns:
        The mean over groups that have a gain and more than one pair; nan where there are none.

    >>> round(mean_ndcg(np.array([0, 0, 1, 1]), np.array([2, 1, 2, 1]), np.array([1, 0, 0, 1])), 4)  # 1, 1/log2(3)
    0.8155
    """
    ideal = _dcg(groups, gains, gains, k)
    found = _dcg(groups, scores, gains, k)
    counted = (ideal > 0) & (np.bincount(groups) > 1)
    return float((found[counted] / ideal[counted]).mean()) if counted.any() else float("nan")


def _dcg(groups: NDArray[np.int64], scores: NDArray[Any], gains: NDArray[Any], k: int) -> NDArray[np.float64]:
    order = np.lexsort((-scores, groups))
    ordered = groups[order]
    rank = places_within(ordered)
    worth = np.where(rank < k, gains[order] / np.log2(rank + 2), 0)
    return np.bincount(ordered, weights=worth).astype(np.float64)
