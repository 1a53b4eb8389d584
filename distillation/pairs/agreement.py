"""Agreement of a judge with people."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.assistant import calibration_error
from keydistill.distillation.signals import read_judgments
from keydistill.encoders.judge import LabelTable
from keydistill.errors import InputError
from keydistill.tables import RejectLog

_BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pairs whose probability lies in [low, high), and in the last one also at 1.

    Attributes:
        low: Lower end of the bin.
        high: Upper end of the bin.
        pairs: Number of pairs.
        mean_probability: Mean of the judge's probabilities.
        share_yes: Share of the pairs of which people say yes.
    """

    low: float
    high: float
    pairs: int
    mean_probability: float
    share_yes: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge against people, over the pairs that both labelled.

    Attributes:
        pairs: Number of pairs.
        both_yes: Number of pairs of which judge and people say yes.
        judge_yes: Number of pairs of which only the judge says yes.
        people_yes: Number of pairs of which only people say yes.
        both_no: Number of pairs of which neither says yes.
        accuracy: Share of equal labels.
        kappa: Cohen's kappa (1960): agreement beyond what the two shares of yes give by chance; None where one label is
            all there is, which leaves it undefined.
        ece: Expected calibration error over ten bins; None without probabilities.
        calibration: The bins that hold pairs.
    """

    pairs: int
    both_yes: int
    judge_yes: int
    people_yes: int
    both_no: int
    accuracy: float
    kappa: float | None
    ece: float | None
    calibration: tuple[CalibrationBin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return asdict(self)


def agreement(
    judged: NDArray[np.bool_], people: NDArray[np.bool_], probabilities: NDArray[np.floating] | None = None
) -> Agreement:
    """Compare labels of the same pairs.

    Args:
        judged: Labels of the judge, shape (n,), n > 0.
        people: Labels of people, shape (n,).
        probabilities: The judge's probability of yes, shape (n,); NaN where it gave none.

    >>> result = agreement(np.array([True, True, False, False]), np.array([True, False, False, False]))
    >>> result.accuracy, result.kappa
    (0.75, 0.5)
    """
    from sklearn.metrics import cohen_kappa_score

    both_yes = int(np.sum(judged & people))
    both_no = int(np.sum(~judged & ~people))
    # Kappa is 0 / 0 where both say the same thing of every pair.
    undefined = len(judged) in (both_yes, both_no)
    stated = np.full(len(judged), np.nan) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    has_probability = ~np.isnan(stated)
    return Agreement(
        pairs=len(judged),
        both_yes=both_yes,
        judge_yes=int(np.sum(judged & ~people)),
        people_yes=int(np.sum(~judged & people)),
        both_no=both_no,
        accuracy=(both_yes + both_no) / len(judged),
        kappa=None if undefined else float(cohen_kappa_score(judged, people)),
        ece=calibration_error(stated[has_probability], people[has_probability]) if has_probability.any() else None,
        calibration=_bins(stated[has_probability], people[has_probability]),
    )


def agreement_of_file(judgments: Path, human: LabelTable) -> Agreement:
    """Compare a file of judgments with the labels of people, over the pairs that are in both.

    Raises:
        InputError: A file cannot be read, or they have no pair in common.
    """
    judged: list[bool] = []
    people: list[bool] = []
    probabilities: list[float] = []
    compared_pairs: set[tuple[str, str]] = set()
    for table in read_judgments([judgments], RejectLog()):
        columns = (table[name].to_pylist() for name in ("item_id", "keyphrase", "label", "probability"))
        for item_id, keyphrase, label, probability in zip(*columns, strict=True):
            human_label = human.get(item_id, keyphrase)
            if human_label is not None and (item_id, keyphrase) not in compared_pairs:
                compared_pairs.add((item_id, keyphrase))
                judged.append(label)
                people.append(human_label[0])
                probabilities.append(float("nan") if probability is None else probability)
    if not judged:
        raise InputError(f"{judgments} and the {len(human):,} labels of {human.name} have no pair in common")
    return agreement(np.array(judged), np.array(people), np.array(probabilities))


def _bins(probabilities: NDArray[np.float64], people: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    places = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    return tuple(
        CalibrationBin(
            low=number / _BINS,
            high=(number + 1) / _BINS,
            pairs=int(in_bin.sum()),
            mean_probability=float(probabilities[in_bin].mean()),
            share_yes=float(people[in_bin].mean()),
        )
        for number in range(_BINS)
        if (in_bin := places == number).any()
    )
