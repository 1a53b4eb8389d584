"""Area under the ROC curve: the chance that a relevant pair scores above an irrelevant one, ties counting half."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.evaluation.bootstrap import BLOCK, Floats, divided


def grouped_auc(groups: NDArray[np.int64], scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> Floats:
    """The AUC within each group, by the ranks of its scores (Mann and Whitney, 1947).

    Args:
        groups: Group of each pair, from 0 on; shape (n,).
        scores: Score of each pair, shape (n,).
        relevant: Label of each pair, shape (n,).

    Returns:
        One figure per group; nan where it has only relevant or only irrelevant pairs.

    >>> relevant = np.array([True, True, False, True])
    >>> grouped_auc(np.array([0, 0, 0, 1]), np.array([0.9, 0.5, 0.5, 0.1]), relevant).tolist()
    [0.75, nan]
    """
    if not len(groups):
        return np.empty(0)
    order = np.lexsort((scores, groups))
    group, score, positive = groups[order], scores[order], relevant[order].astype(np.float64)
    new_group = np.append(True, group[1:] != group[:-1])
    tie = np.cumsum(new_group | np.append(True, score[1:] != score[:-1])) - 1
    place = np.arange(len(group))
    first = place[new_group][np.cumsum(new_group) - 1]
    # Equal scores share the mean of their ranks.
    rank = (np.bincount(tie, place) / np.bincount(tie))[tie] - first + 1
    positives = np.bincount(group, positive)
    negatives = np.bincount(group, 1 - positive)
    return divided(np.bincount(group, rank * positive) - positives * (positives + 1) / 2, positives * negatives)


def resampled_auc(scores: NDArray[np.floating], relevant: NDArray[np.bool_], blocks: Iterable[Floats]) -> Floats:
    """The AUC over all pairs in every resample.

    Args:
        scores: Score of each pair, shape (n,).
        relevant: Label of each pair, shape (n,).
        blocks: How often each resample counts each pair, in blocks of shape (some, n).

    Returns:
        Shape (resamples,); nan where a resample has no relevant or no irrelevant pair.
    """
    order = np.argsort(scores, kind="stable")
    score, positive = scores[order], relevant[order]
    ties = np.flatnonzero(np.append(True, score[1:] != score[:-1])) if len(score) else np.empty(0, dtype=np.int64)
    areas = []
    for block in blocks:
        if not len(score):
            areas.append(np.full(len(block), np.nan))
            continue
        rows = max(1, BLOCK // len(score))
        for start in range(0, len(block), rows):
            draws = block[start : start + rows][:, order]
            up = np.add.reduceat(draws * positive, ties, axis=1)
            down = np.add.reduceat(draws * ~positive, ties, axis=1)
            below = np.cumsum(down, axis=1) - down
            areas.append(divided((up * (below + down / 2)).sum(axis=1), up.sum(axis=1) * down.sum(axis=1)))
    return np.concatenate(areas)
