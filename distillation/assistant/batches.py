"""Shuffled batches of texts of similar length, so that little padding is computed."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Batches that are sorted among each other. More save little more padding and make batches less random.
_POOL_BATCHES = 50


def length_batches(
    lengths: Sequence[int] | NDArray[np.integer], batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Random batches whose texts are of similar length, in random order.

    Args:
        lengths: Length of each text, in any unit.
        batch_size: Texts per batch; one batch may have fewer.
        rng: Source of the random order.

    Yields:
        Indices into `lengths`; over all batches each index comes once.

    >>> batches = length_batches([9, 2, 8, 1], batch_size=2, rng=np.random.default_rng(0))
    >>> sorted(sorted(batch.tolist()) for batch in batches)
    [[0, 2], [1, 3]]
    """
    array = np.asarray(lengths)
    order = rng.permutation(len(array))
    batches = []
    for start in range(0, len(order), batch_size * _POOL_BATCHES):
        pool = order[start : start + batch_size * _POOL_BATCHES]
        pool = pool[np.argsort(array[pool], kind="stable")]
        batches += [pool[place : place + batch_size] for place in range(0, len(pool), batch_size)]
    for number in rng.permutation(len(batches)):
        yield batches[number]
