"""Recall against exact search, as gate and tuning both measure it."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from keydistill.retrieval import TUNED_LIMIT
from keydistill.vectorstore import Hit

_Thing = TypeVar("_Thing")

# Length of the lists that are compared.
K = TUNED_LIMIT
# Equal vectors have equal scores up to rounding, and any of them is right.
_EQUAL_SCORES = 1e-5


def recalls(exact: Sequence[Sequence[Hit]], approximate: Sequence[Sequence[Hit]]) -> NDArray[np.float64]:
    """The share of each exact list that a search found. An empty list, of which nothing can be missed, is left out.

    Args:
        exact: The n lists of exact search, best first.
        approximate: The n lists of the search, as long as those.
    """
    return np.array(
        [
            min(1.0, sum(hit.score >= best[-1].score - _EQUAL_SCORES for hit in hits) / len(best))
            for best, hits in zip(exact, approximate, strict=True)
            if best
        ],
        dtype=np.float64,
    )


def spread(things: Sequence[_Thing], most: int) -> list[_Thing]:
    """At most `most` of the things, evenly spread: keyphrases that stand in for items are sorted by length.

    >>> spread("abcdefg", 3)
    ['a', 'c', 'e']
    """
    if len(things) <= most:
        return list(things)
    return [things[place * len(things) // most] for place in range(most)]
