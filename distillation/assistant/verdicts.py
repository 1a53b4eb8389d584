"""Trust in an assistant's verdicts on single pairs: even where they are wrong, its scores may be well ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The assistant approves of a pair from the first calibrated probability on, and rejects it up to the second.
APPROVED = 0.6
REJECTED = 0.2
# Share of such verdicts that must be right: hard negatives half of which are relevant teach the opposite.
TRUSTED = 0.8


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts of an assistant that are trusted, besides the order of its scores.

    Attributes:
        approved: Whether pairs that it approves of are positives, and no negatives of others.
        rejected: Whether pairs that it rejects are hard negatives.
    """

    approved: bool = True
    rejected: bool = True

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Verdicts:
        """The verdicts that an assistant's metrics allow; one trained before these metrics were taken is trusted.

        >>> Verdicts.of({"approved_right": 0.7, "rejected_right": 0.9})
        Verdicts(approved=False, rejected=True)
        """
        return cls(metrics.get("approved_right", 1.0) >= TRUSTED, metrics.get("rejected_right", 1.0) >= TRUSTED)


def verdicts_right(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """The share of an assistant's approvals that is right, and the share of its rejections.

    Mined pairs are as often relevant as judged ones, or less: people judge what somebody thought relevant. Where two
    thirds of the judged pairs are, approving of everything is right two times out of three, and wrong most times when
    the pairs are mined. So approvals are counted as if there were as many pairs of one kind as of the other. Rejections
    are at least as often right on mined pairs, and counted as they are.

    Args:
        probabilities: Calibrated probabilities, shape (n,).
        labels: Whether each pair is relevant, shape (n,); some are, and some are not.

    Returns:
        Share of the approvals that is right, and share of the rejections; 0 where there are none.

    >>> scores = np.array([0.9, 0.9, 0.7, 0.1])
    >>> verdicts_right(scores, np.array([True, True, False, False]))  # 1 / (1 + 1/2) and, of one, (1 + 1) / (1 + 2)
    (0.6666666666666666, 0.6666666666666666)
    """
    approved, rejected = probabilities >= APPROVED, probabilities <= REJECTED
    hits, misses = float(approved[labels].mean()), float(approved[~labels].mean())
    return (
        hits / (hits + misses) if hits + misses else 0.0,
        # Laplace's rule of succession: three right ones of three say little.
        (int((~labels[rejected]).sum()) + 1) / (int(rejected.sum()) + 2) if rejected.any() else 0.0,
    )
