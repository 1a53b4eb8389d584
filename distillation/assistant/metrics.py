"""Metrics of how well logits tell relevant pairs from the others."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.assistant.calibration import brier_score, calibration_error, fit_calibration
from keydistill.distillation.assistant.intervals import (
    Interval,
    auc_within,
    clustered_interval,
    gain_within,
    verdict_intervals,
)
from keydistill.distillation.assistant.verdicts import auc_interval, verdicts_right
from keydistill.encoders import Calibration
from keydistill.errors import TrainingError


@dataclass(frozen=True, slots=True)
class AssistantMetrics:
    """The metrics of an assistant on held-out pairs; a pair is positive if its target is at least 0.5.

    Attributes:
        auc: Area under the ROC curve.
        auc_low: Lower end of its interval of 95%; 0.5 or less is no better than chance.
        auc_high: Upper end of this interval.
        auc_within: Mean AUC within the held-out keyphrases that have pairs of both kinds; None where hardly any has.
        auc_within_low: Lower end of its interval of 95%.
        auc_within_high: Upper end of this interval.
        auc_within_student: The same of the student that it was compared with; None where it was with none.
        auc_within_gain: What `auc_within` is above that.
        auc_within_gain_low: Lower end of the interval of 95% of this difference, keyphrase by keyphrase.
        auc_within_gain_high: Upper end of this interval.
        average_precision: Area under the precision-recall curve, as a step function.
        f1: F1 at `threshold`, on pairs that did not choose it: the other half or, with several folds, another fold.
        precision: Precision at `threshold`, on those pairs.
        recall: Recall at `threshold`, on those pairs.
        threshold: Calibrated probability with the best F1 on the half (or in the mean over folds) that chooses it.
        brier: Mean squared error of the uncalibrated probabilities.
        brier_calibrated: Mean squared error after calibration, on pairs that it was not fitted to.
        ece: Expected calibration error of the uncalibrated probabilities.
        ece_calibrated: Expected calibration error after calibration, on pairs that it was not fitted to.
        approved_right: Share of its approvals that is right (`keydistill.distillation.assistant.verdicts`), after
            calibration, on pairs that it was not fitted to.
        approved_right_low: Lower end of its interval of 95%.
        approved_right_high: Upper end of this interval.
        rejected_right: Share of its rejections that is right, measured likewise.
        rejected_right_low: Lower end of its interval of 95%.
        rejected_right_high: Upper end of this interval.
        held_out_pairs: Number of held-out pairs.
        held_out_groups: Number of keyphrases (or of items, where these were held out) that they belong to.
        held_out_lists: Number of held-out keyphrases that have pairs of both kinds.
        positive_share: Share of the held-out pairs that is positive.
        folds: Number of models that scored the held-out pairs, each only those that it had not seen.
    """

    auc: float
    auc_low: float
    auc_high: float
    auc_within: float | None
    auc_within_low: float | None
    auc_within_high: float | None
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
    approved_right_low: float
    approved_right_high: float
    rejected_right: float
    rejected_right_low: float
    rejected_right_high: float
    held_out_pairs: int
    held_out_groups: int
    held_out_lists: int
    positive_share: float
    folds: int = 1
    auc_within_student: float | None = None
    auc_within_gain: float | None = None
    auc_within_gain_low: float | None = None
    auc_within_gain_high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
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
    logits: NDArray[np.floating],
    labels: NDArray[np.bool_],
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    keyphrases: Sequence[str] | None = None,
    folds: NDArray[np.intp] | None = None,
    of_student: NDArray[np.floating] | None = None,
) -> AssistantMetrics:
    """All metrics of held-out pairs.

    What is fitted (threshold, calibration) is measured on pairs that it was not fitted to: it is fitted on one half of
    the pairs and measured on the other or, where the pairs come from several folds, fitted on all other folds for each.

    Args:
        logits: Shape (n,).
        labels: Shape (n,).
        seed: Seed of the halves; both hold the same share of positive pairs. And of the resamples.
        groups: The keyphrase (or item, where these are held out) of each pair, n of them; None takes each pair for
            itself.
        keyphrases: The keyphrase of each pair, n of them; None takes `groups`.
        folds: Fold of each pair, whose model scored it, from 0 without a gap, shape (n,); None is one model.
        of_student: What a student says of the same pairs, shape (n,); None where there is none to compare with.

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
    count = 1 if folds is None else int(folds.max()) + 1
    parts = (
        [_halves(labels, seed)]
        if folds is None
        else [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(count)]
    )
    measured = np.concatenate([there for _, there in parts])
    calibrated = np.empty(len(labels), dtype=np.float32)
    is_yes, thresholds = np.empty(len(labels), dtype=bool), []
    for fitted, there in parts:
        calibration = fit_calibration(logits[fitted], labels[fitted])
        thresholds.append(best_threshold(calibration.probabilities(logits[fitted]), labels[fitted]))
        calibrated[there] = calibration.probabilities(logits[there])
        is_yes[there] = calibrated[there] >= thresholds[-1]
    plain = Calibration().probabilities(logits)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels[measured], is_yes[measured], average="binary", zero_division=0
    )
    auc = float(roc_auc_score(labels, logits))
    interval = Interval(*auc_interval(auc, positive, len(labels) - positive))
    names, group_of = np.unique(
        np.arange(len(labels)) if groups is None else np.array(groups, str), return_inverse=True
    )
    if len(names) < len(labels):
        interval = interval.widened(clustered_interval(logits, labels, group_of, seed=seed))
    list_of = group_of if keyphrases is None else np.unique(np.array(keyphrases, str), return_inverse=True)[1]
    within = auc_within(logits, labels, list_of, seed=seed)
    beside: dict[str, float | None] = {}
    if of_student is not None:
        gain = gain_within(logits, of_student, labels, list_of, seed=seed)
        beside = {
            "auc_within_student": auc_within(of_student, labels, list_of, seed=seed).value,
            "auc_within_gain": gain.value,
            "auc_within_gain_low": gain.low,
            "auc_within_gain_high": gain.high,
        }
    approved_right, rejected_right = verdicts_right(calibrated[measured], labels[measured])
    approved, rejected = verdict_intervals(calibrated[measured], labels[measured], group_of[measured], seed=seed)
    return AssistantMetrics(
        auc=auc,
        auc_low=interval.low,
        auc_high=interval.high,
        auc_within=within.value,
        auc_within_low=within.low,
        auc_within_high=within.high,
        average_precision=average_precision(logits, labels),
        f1=float(f1),
        precision=float(precision),
        recall=float(recall),
        threshold=float(np.mean(thresholds)),
        brier=brier_score(plain[measured], labels[measured]),
        brier_calibrated=brier_score(calibrated[measured], labels[measured]),
        ece=calibration_error(plain[measured], labels[measured]),
        ece_calibrated=calibration_error(calibrated[measured], labels[measured]),
        approved_right=approved_right,
        approved_right_low=approved.low,
        approved_right_high=approved.high,
        rejected_right=rejected_right,
        rejected_right_low=rejected.low,
        rejected_right_high=rejected.high,
        held_out_pairs=len(labels),
        held_out_groups=len(names),
        held_out_lists=within.groups,
        positive_share=positive / len(labels),
        folds=count,
        **beside,
    )


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
