"""Metrics of how well logits tell relevant pairs from the others."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.assistant.calibration import brier_score, calibration_error, fit_calibration
from keydistill.distillation.assistant.verdicts import auc_interval, verdicts_right
from keydistill.encoders import Calibration
from keydistill.errors import TrainingError

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class AssistantMetrics:
    """The metrics of an assistant on held-out pairs; a pair is positive if its target is at least 0.5.

    Attributes:
        auc: Area under the ROC curve.
        auc_low: Lower end of its interval of 95%; 0.5 or less is no better than chance.
        auc_high: Upper end of this interval.
        average_precision: Area under the precision-recall curve, as a step function.
        f1: F1 at `threshold`, on the half of the pairs that did not choose it.
        precision: Precision at `threshold`, on that half.
        recall: Recall at `threshold`, on that half.
        threshold: Calibrated probability with the best F1 on the other half.
        brier: Mean squared error of the uncalibrated probabilities.
        brier_calibrated: Mean squared error after calibration on one half, measured on the other.
        ece: Expected calibration error of the uncalibrated probabilities.
        ece_calibrated: Expected calibration error after calibration on one half, measured on the other.
        approved_right: Share of its approvals that is right (`keydistill.distillation.assistant.verdicts`); after
            calibration on one half, measured on the other.
        rejected_right: Share of its rejections that is right, measured likewise.
        held_out_pairs: Number of held-out pairs.
        held_out_groups: Number of keyphrases (or of items, where these were held out) that they belong to.
        positive_share: Share of them that is positive.
    """

    auc: float
    auc_low: float
    auc_high: float
    average_precision: float
    f1: float
    precision: float
    recall: float
    threshold: float
    brier: float
    brier_calibrated: float
    ece: float
    ece_calibrated: float
    approved_right: float
    rejected_right: float
    held_out_pairs: int
    held_out_groups: int
    positive_share: float

    def as_dict(self) -> dict[str, float]:
        """The attributes by name, fit for JSON."""
        return asdict(self)


def average_precision(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """Area under the precision-recall curve.

    Raises:
        TrainingError: A logit is not finite.

    >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])).__round__(3)
    0.833
    """
    from sklearn.metrics import average_precision_score

    _check_finite(logits)
    return float(average_precision_score(labels, logits))


def held_out_metrics(
    logits: NDArray[np.floating], labels: NDArray[np.bool_], *, seed: int, groups: Sequence[str] | None = None
) -> AssistantMetrics:
    """All metrics of held-out pairs.

    What is fitted (threshold, calibration) is fitted on one half of the pairs and measured on the other.

    Args:
        logits: Shape (n,).
        labels: Shape (n,).
        seed: Seed of the halves; both hold the same share of positive pairs. And of the resamples.
        groups: The keyphrase (or item) of each pair, n of them; None takes each pair for itself.

    Raises:
        TrainingError: There are fewer than two positive or two negative pairs, or a logit is not finite.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    _check_finite(logits)
    positive = int(labels.sum())
    if min(positive, len(labels) - positive) < 2:
        raise TrainingError(
            f"{positive:,} of the {len(labels):,} held-out pairs are positive; expected at least two positive and two "
            "negative ones; give more pairs, or hold out a larger share"
        )
    fitted, measured = _halves(labels, seed)
    calibration = fit_calibration(logits[fitted], labels[fitted])
    threshold = best_threshold(calibration.probabilities(logits[fitted]), labels[fitted])
    plain, calibrated = Calibration().probabilities(logits[measured]), calibration.probabilities(logits[measured])
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels[measured], calibrated >= threshold, average="binary", zero_division=0
    )
    approved_right, rejected_right = verdicts_right(calibrated, labels[measured])
    auc = float(roc_auc_score(labels, logits))
    auc_low, auc_high = auc_interval(auc, positive, len(labels) - positive)
    names, group_of = np.unique(
        np.arange(len(labels)) if groups is None else np.array(groups, str), return_inverse=True
    )
    if len(names) < len(labels):
        low, high = clustered_interval(logits, labels, group_of, seed=seed)
        auc_low, auc_high = min(auc_low, low), max(auc_high, high)
    return AssistantMetrics(
        auc=auc,
        auc_low=auc_low,
        auc_high=auc_high,
        average_precision=average_precision(logits, labels),
        f1=float(f1),
        precision=float(precision),
        recall=float(recall),
        threshold=threshold,
        brier=brier_score(plain, labels[measured]),
        brier_calibrated=brier_score(calibrated, labels[measured]),
        ece=calibration_error(plain, labels[measured]),
        ece_calibrated=calibration_error(calibrated, labels[measured]),
        approved_right=approved_right,
        rejected_right=rejected_right,
        held_out_pairs=len(labels),
        held_out_groups=len(names),
        positive_share=positive / len(labels),
    )


def clustered_interval(
    logits: NDArray[np.floating], labels: NDArray[np.bool_], groups: NDArray[np.intp], *, seed: int
) -> tuple[float, float]:
    """The interval of 95% of the AUC where pairs of one keyphrase come or stay together: a percentile bootstrap.

    Args:
        logits: Shape (n,).
        labels: Shape (n,).
        groups: Number of the group of each pair, from 0 without a gap; shape (n,).
        seed: Seed of the resamples.

    Returns:
        Its ends; 0 and 1 where hardly a resample has pairs of both kinds, as with one group.
    """
    from sklearn.metrics import roc_auc_score

    count = int(groups.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    areas = []
    for draw in draws:
        drawn = draw[groups]
        if drawn[labels].any() and drawn[~labels].any():
            areas.append(float(roc_auc_score(labels, logits, sample_weight=drawn)))
    if count < 2 or len(areas) < _RESAMPLES / 2:
        return 0.0, 1.0
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)


def best_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """The probability from which on calling a pair relevant gives the best F1.

    >>> best_threshold(np.array([0.9, 0.8, 0.3, 0.2]), np.array([True, True, True, False])).__round__(3)
    0.3
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    # The last point of the curve has no threshold.
    return float(thresholds[int(np.argmax(f1[:-1]))])


def _check_finite(logits: NDArray[np.floating]) -> None:
    bad = int(np.count_nonzero(~np.isfinite(logits)))
    if bad:
        raise TrainingError(
            f"{bad:,} of {len(logits):,} held-out pairs have a logit that is not finite: the training diverged; "
            "choose a lower learning rate"
        )


def _halves(labels: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    halves: tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]] = ([], [])
    for of_class in (labels, ~labels):
        places = rng.permutation(np.flatnonzero(of_class))
        halves[0].append(places[::2])
        halves[1].append(places[1::2])
    return np.sort(np.concatenate(halves[0])), np.sort(np.concatenate(halves[1]))
