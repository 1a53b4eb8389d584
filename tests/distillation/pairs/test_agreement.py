from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from keydistill.distillation.pairs.agreement import agreement


def test_it_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    people = rng.random(500) < 0.3
    probabilities = np.clip(people * 0.5 + rng.random(500) * 0.5, 0, 1)
    judged = probabilities >= 0.5
    judged[:50] = ~judged[:50]
    result = agreement(judged, people, probabilities)
    assert result.accuracy == pytest.approx(accuracy_score(people, judged))
    assert result.kappa == pytest.approx(cohen_kappa_score(people, judged))
    assert result.both_yes + result.both_no + result.judge_yes + result.people_yes == result.pairs == 500
    assert sum(calibration_bin.pairs for calibration_bin in result.calibration) == 500
    weighted = (
        sum(
            calibration_bin.pairs * abs(calibration_bin.mean_probability - calibration_bin.share_yes)
            for calibration_bin in result.calibration
        )
        / 500
    )
    assert result.ece == pytest.approx(weighted)


@pytest.mark.parametrize("label", [True, False])
def test_kappa_is_undefined_where_one_label_is_all_there_is(label: Any) -> None:
    result = agreement(np.full(3, label), np.full(3, label))
    assert (result.accuracy, result.kappa, result.ece, result.calibration) == (1.0, None, None, ())


def test_kappa_is_zero_where_only_one_side_varies() -> None:
    result = agreement(np.array([True, True]), np.array([True, False]))
    assert (result.accuracy, result.kappa) == (0.5, 0.0)


def test_complete_disagreement() -> None:
    result = agreement(np.array([True, False]), np.array([False, True]))
    assert (result.accuracy, result.kappa) == (0.0, -1.0)


def test_pairs_without_a_probability_count_for_the_labels_only() -> None:
    result = agreement(np.array([True, False]), np.array([True, False]), np.array([1.0, np.nan]))
    assert result.pairs == 2
    assert [
        (calibration_bin.low, calibration_bin.high, calibration_bin.pairs) for calibration_bin in result.calibration
    ] == [(0.9, 1.0, 1)]
    assert result.ece == 0.0
