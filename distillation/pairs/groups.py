"""Rows of pairs by group, such as the pairs of one item."""

import numpy as np
from numpy.typing import NDArray


def first_per_group(groups: NDArray[np.int64], size: int) -> NDArray[np.intp]:
    """Places of the first `size` rows of each group, group by group.

    >>> first_per_group(np.array([5, 3, 5, 5]), size=2).tolist()
    [1, 0, 2]
    """
    order = np.argsort(groups, kind="stable")
    return order[places_within(groups[order]) < size]


def places_within(groups: NDArray[np.int64]) -> NDArray[np.intp]:
    """Place of each row within its group, from 0; rows of a group stand together.

    >>> places_within(np.array([7, 7, 3, 7])).tolist()
    [0, 1, 0, 0]
    """
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])[: len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
