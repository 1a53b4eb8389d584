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
    found = agreement(judged, people, probabilities)
    assert found.accuracy == pytest.approx(accuracy_score(people, judged))
    assert found.kappa == pytest.approx(cohen_kappa_score(people, judged))
    assert found.both_yes + found.both_no + found.judge_yes + found.people_yes == found.pairs == 500
    assert sum(one.pairs for one in found.calibration) == 500
    weighted = sum(one.pairs * abs(one.mean_probability - one.share_yes) for one in found.calibration) / 500
    assert found.ece == pytest.approx(weighted)


@pytest.mark.parametrize("label", [True, False])
def test_kappa_is_undefined_where_one_label_is_all_there_is(label: Any) -> None:
    found = agreement(np.full(3, label), np.full(3, label))
    assert (found.accuracy, found.kappa, found.ece, found.calibration) == (1.0, None, None, ())


def test_kappa_is_zero_where_only_one_side_varies() -> None:
    found = agreement(np.array([True, True]), np.array([True, False]))
    assert (found.accuracy, found.kappa) == (0.5, 0.0)


def test_complete_disagreement() -> None:
    found = agreement(np.array([True, False]), np.array([False, True]))
    assert (found.accuracy, found.kappa) == (0.0, -1.0)


def test_pairs_without_a_probability_count_for_the_labels_only() -> None:
    found = agreement(np.array([True, False]), np.array([True, False]), np.array([1.0, np.nan]))
    assert found.pairs == 2
    assert [(one.low, one.high, one.pairs) for one in found.calibration] == [(0.9, 1.0, 1)]
    assert found.ece == 0.0
