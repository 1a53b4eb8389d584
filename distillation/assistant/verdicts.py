"""Trust in an assistant's verdicts on single pairs: even where they are wrong, its scores may be well ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keydistill.errors import TrainingError

# The assistant approves of a pair from the first calibrated probability on, and rejects it up to the second.
APPROVED = 0.6
REJECTED = 0.2
# Share of such verdicts that must be right: hard negatives half of which are relevant teach the opposite.
TRUSTED = 0.8
# AUC of scores that say nothing.
CHANCE = 0.5


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

        One that is no better than chance has its positives and negatives from chance.

        >>> Verdicts.of({"approved_right": 0.7, "rejected_right": 0.9})
        Verdicts(approved=False, rejected=True)
        """
        if chance_level(metrics) is not None:
            return cls(approved=False, rejected=False)
        return cls(metrics.get("approved_right", 1.0) >= TRUSTED, metrics.get("rejected_right", 1.0) >= TRUSTED)


def auc_interval(auc: float, positive: int, negative: int) -> tuple[float, float]:
    """The interval that has the true AUC in 95 of 100 samples (Hanley and McNeil, Radiology 1982).

    Args:
        auc: AUC of the sample.
        positive: Number of its relevant pairs.
        negative: Number of its other pairs.

    >>> [round(limit, 3) for limit in auc_interval(0.8, 50, 50)]
    [0.713, 0.887]
    """
    both_positive, both_negative = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = (
        auc * (1 - auc) + (positive - 1) * (both_positive - auc * auc) + (negative - 1) * (both_negative - auc * auc)
    ) / (positive * negative)
    half = 1.96 * max(0.0, variance) ** 0.5
    return max(0.0, auc - half), min(1.0, auc + half)


def chance_level(metrics: Mapping[str, Any]) -> str | None:
    """What says that an assistant is no better than chance: an interval of its AUC that touches 0.5; None otherwise.

    Args:
        metrics: Its held-out metrics; without an interval of the AUC nothing is known.

    >>> chance_level({"auc": 0.475, "auc_low": 0.42, "auc_high": 0.53, "held_out_pairs": 480})
    'held-out AUC 0.475 (0.420 to 0.530, 480 pairs)'
    """
    low, high = metrics.get("auc_low"), metrics.get("auc_high")
    if low is None or high is None:
        pairs, share = metrics.get("held_out_pairs"), metrics.get("positive_share")
        if metrics.get("auc") is None or pairs is None or share is None:
            return None
        positive = round(pairs * share)
        if not 0 < positive < pairs:
            return None
        low, high = auc_interval(metrics["auc"], positive, pairs - positive)
    if low > CHANCE:
        return None
    return f"held-out AUC {metrics['auc']:.3f} ({low:.3f} to {high:.3f}, {metrics['held_out_pairs']:,} pairs)"


def nothing_to_teach(metrics: Mapping[str, Any]) -> str | None:
    """What says that an assistant's order of a keyphrase's items is not worth learning; None if it is.

    It orders them by chance, or not clearly better than the student that it was compared with, or nothing is known. It
    may be better than chance over all pairs all the same: some keyphrases are easily satisfied, and it knows which.

    >>> within = {"auc_within": 0.6, "auc_within_low": 0.43, "auc_within_high": 0.74, "held_out_lists": 10}
    >>> nothing_to_teach(within)
    'AUC within held-out keyphrases 0.600 (0.430 to 0.740, 10 keyphrases), which may be chance'
    """
    within, low, high = (metrics.get(name) for name in ("auc_within", "auc_within_low", "auc_within_high"))
    if within is None or low is None or high is None:
        return "hardly a held-out keyphrase has both relevant and other items"
    lists = metrics["held_out_lists"]
    found = f"AUC within held-out keyphrases {within:.3f} ({low:.3f} to {high:.3f}, {lists:,} keyphrases)"
    if low <= CHANCE:
        return f"{found}, which may be chance"
    gain, least, most = (metrics.get(f"auc_within_gain{end}") for end in ("", "_low", "_high"))
    if gain is None or least is None or most is None or least > 0:
        return None
    of_student = metrics["auc_within_student"]
    return f"{found}; less the untrained student's {of_student:.3f} it is {gain:+.3f} ({least:+.3f} to {most:+.3f})"


def check_better_than_chance(metrics: Mapping[str, Any], reason: str | None) -> None:
    """Check that an assistant may decide about positives and negatives.

    Args:
        metrics: Its held-out metrics.
        reason: Why it is trusted nevertheless; None where nobody says so.

    Raises:
        TrainingError: It is no better than chance, and nobody trusts it nevertheless.
    """
    chance = chance_level(metrics)
    if chance is not None and not (reason or "").strip():
        raise TrainingError(
            f"the assistant is no better than chance: {chance}; give it more or better judgments, or say why its "
            "scores are to be learned nevertheless with --trust-assistant REASON"
        )


def check_order(metrics: Mapping[str, Any], reason: str | None) -> None:
    """Check that lists of items may be learned from an assistant's scores: their order is all that they teach.

    Args:
        metrics: Its held-out metrics.
        reason: Why it is trusted nevertheless; None where nobody says so.

    Raises:
        TrainingError: There is nothing to learn from it, and nobody trusts it nevertheless.
    """
    problem = nothing_to_teach(metrics)
    if problem is not None and not (reason or "").strip():
        raise TrainingError(
            f"the scores have nothing to teach of the order of a keyphrase's items: {problem}; leave them out, or say "
            "why they are to be learned nevertheless with --trust-assistant REASON"
        )


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
    approved, rejected = approved_by(probabilities), rejected_by(probabilities)
    counts = [int((kind & chosen).sum()) for kind in (labels, ~labels) for chosen in (approved, rejected)]
    return shares_right(int(labels.sum()), counts[0], counts[1], int((~labels).sum()), counts[2], counts[3])


def shares_right(
    relevant: float,
    relevant_approved: float,
    relevant_rejected: float,
    irrelevant: float,
    irrelevant_approved: float,
    irrelevant_rejected: float,
) -> tuple[float, float]:
    """The shares of `verdicts_right` by counts of pairs; some are relevant, and some are not."""
    hits, misses = relevant_approved / relevant, irrelevant_approved / irrelevant
    rejected = relevant_rejected + irrelevant_rejected
    return (
        hits / (hits + misses) if hits + misses else 0.0,
        # Laplace's rule of succession: three right ones of three say little.
        (irrelevant_rejected + 1) / (rejected + 2) if rejected else 0.0,
    )


def approved_by(probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the assistant approves of each pair."""
    return probabilities >= APPROVED


def rejected_by(probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the assistant rejects each pair."""
    return probabilities <= REJECTED
