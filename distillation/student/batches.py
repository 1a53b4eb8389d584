"""Shuffled batches for losses that compare the keyphrases of one item."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.pairs import places_within


def grouped_batches(
    groups: Sequence[int] | NDArray[np.int64], batch_size: int, per_group: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Shuffled batches in which rows of one group stand together, a few of each.

    Args:
        groups: The group of each row, say its item.
        batch_size: Rows per batch; the last one may have fewer.
        per_group: Most rows of one chunk of a group; a larger group gives several chunks, in different batches mostly.
        rng: Source of the random chunks and of their order.

    Yields:
        Row numbers; over all batches each comes once.

    >>> batches = grouped_batches([7, 8, 7, 8], batch_size=2, per_group=2, rng=np.random.default_rng(0))
    >>> sorted(sorted(batch.tolist()) for batch in batches)
    [[0, 2], [1, 3]]
    """
    groups = np.asarray(groups)
    if not len(groups):
        return
    # A random order within a group, groups together.
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    place = places_within(groups[order])
    chunks = np.split(order, np.flatnonzero((place % per_group == 0) & (np.arange(len(order)) > 0)))
    shuffled = np.concatenate([chunks[index] for index in rng.permutation(len(chunks))])
    for start in range(0, len(shuffled), batch_size):
        yield shuffled[start : start + batch_size]
