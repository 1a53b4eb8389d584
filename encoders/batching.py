"""Batches of texts that have equally many tokens, so that no padding is computed."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def equal_length_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[NDArray[np.intp]]:
    """Group the indices of texts by length, longest first.

    Longest first makes memory peak at once and the remaining time of a progress bar pessimistic rather than rosy.

    Args:
        lengths: Tokens per text.
        max_tokens: Most tokens per batch; a batch has at least one text.

    Yields:
        Indices into `lengths`; over all batches each index comes once.

    >>> [batch.tolist() for batch in equal_length_batches([2, 3, 2, 2], max_tokens=4)]
    [[1], [0, 2], [3]]
    """
    array = np.asarray(lengths)
    order = np.argsort(-array, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(array[order])) + 1):
        if len(group):
            size = max(1, max_tokens // max(1, int(array[group[0]])))
            for start in range(0, len(group), size):
                yield group[start : start + size]
