"""Recall against exact search: what gate and tuning count alike."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from keydistill.retrieval import TUNED_LIMIT
from keydistill.vectorstore import Hit

_Thing = TypeVar("_Thing")

# Length of the lists.
K = TUNED_LIMIT
# Equal vectors have equal scores up to rounding, and any of them is right.
_EQUAL_SCORES = 1e-5


def shares_found(exact: Sequence[Sequence[Hit]], found: Sequence[Sequence[Hit]]) -> NDArray[np.float64]:
    """The share of each exact list that a search found. An empty one, of which nothing can be missed, is left out.

    Args:
        exact: The n lists of exact search, best first.
        found: The n lists of the search, as long as those.
    """
    return np.array(
        [
            min(1.0, sum(hit.score >= best[-1].score - _EQUAL_SCORES for hit in hits) / len(best))
            for best, hits in zip(exact, found, strict=True)
            if best
        ],
        dtype=np.float64,
    )


def spread(things: Sequence[_Thing], most: int) -> list[_Thing]:
    """At most so many, evenly over all: keyphrases that stand in for items are sorted by length.

    >>> spread("abcdefg", 3)
    ['a', 'c', 'e']
    """
    if len(things) <= most:
        return list(things)
    return [things[place * len(things) // most] for place in range(most)]
