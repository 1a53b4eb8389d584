"""Exact nearest neighbours by brute force, which an index is measured against, and training and evaluation use."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.student import Vectors

# Number of scores in one block: 64 MB for a million keyphrases.
_BLOCK_SCORES = 16 << 20

Allowed = Callable[[int, int], NDArray[np.bool_]]


def nearest(
    queries: Vectors, inventory: Vectors, k: int, allowed: Allowed | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k vectors of the inventory with the greatest inner product with each query, best first.

    Equal scores come in the order of the inventory.

    Args:
        queries: Shape (n, d).
        inventory: Shape (m, d).
        k: Neighbours per query.
        allowed: Function that is called with the first and last query (exclusive) of a block, and returns which of the
            inventory each of them may get, shape (last - first, m).

    Returns:
        Places in the inventory and scores, shape (n, k) each; -1 and -inf where a query has fewer.

    >>> places, scores = nearest(np.eye(2, dtype=np.float32), np.array([[0.6, 0.8], [1, 0]], dtype=np.float32), k=3)
    >>> places.tolist(), scores.tolist()
    ([[1, 0, -1], [0, 1, -1]], [[1.0, 0.6000000238418579, -inf], [0.800000011920929, 0.0, -inf]])
    """
    n, m = len(queries), len(inventory)
    places = np.full((n, k), -1, dtype=np.int64)
    scores = np.full((n, k), -np.inf, dtype=np.float32)
    count = min(k, m)
    if not n or not count:
        return places, scores
    block = max(1, _BLOCK_SCORES // m)
    for first in range(0, n, block):
        last = min(first + block, n)
        block_scores = queries[first:last] @ inventory.T
        if allowed is not None:
            block_scores[~allowed(first, last)] = -np.inf
        # One more than needed would not help: ties at the cut are broken by order among those that are kept.
        top = (
            np.argpartition(-block_scores, count - 1, axis=1)[:, :count]
            if count < m
            else np.tile(np.arange(m), (last - first, 1))
        )
        top.sort(axis=1)
        values = np.take_along_axis(block_scores, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
        places[first:last, :count] = np.where(np.isneginf(values), -1, top)
        scores[first:last, :count] = values
    return places, scores
