"""When an assistant's verdicts on single pairs are trusted."""

from pathlib import Path

import numpy as np
import pytest

from keydistill.distillation.assistant import Verdicts, assistant_metrics
from keydistill.distillation.assistant.metrics import held_out_metrics
from keydistill.distillation.assistant.verdicts import verdicts_right


def test_the_share_of_relevant_pairs_makes_no_difference_to_approvals() -> None:
    rng = np.random.default_rng(0)

    def shares_right(relevant: int, irrelevant: int) -> tuple[float, float]:
        labels = np.repeat([True, False], [relevant, irrelevant])
        # One assistant: of the relevant ones it approves 60%, of the others 10%; it rejects 5% and 80%.
        shares = np.where(labels, 0.6, 0.1), np.where(labels, 0.05, 0.8)
        draw = rng.random(len(labels))
        probabilities = np.where(draw < shares[0], 0.9, np.where(draw > 1 - shares[1], 0.1, 0.4))
        return verdicts_right(probabilities, labels)

    for relevant, irrelevant in ((20_000, 20_000), (40_000, 4_000), (4_000, 40_000)):
        right = irrelevant * 0.8 / (irrelevant * 0.8 + relevant * 0.05)
        assert shares_right(relevant, irrelevant) == pytest.approx((0.6 / 0.7, right), abs=0.02)


def test_an_assistant_that_never_approves_or_rejects_is_not_trusted() -> None:
    labels = np.array([True, False])
    approved, rejected = verdicts_right(np.array([0.5, 0.4]), labels)
    assert Verdicts.of({"approved_right": approved, "rejected_right": rejected}) == Verdicts(False, False)


def test_an_assistant_that_calls_everything_relevant_is_not_trusted_though_most_is() -> None:
    labels = np.arange(1_000) % 4 > 0
    logits = np.random.default_rng(0).normal(loc=1.0, scale=0.1, size=1_000)
    metrics = held_out_metrics(logits, labels, seed=0)
    assert metrics.precision > 0.7
    assert Verdicts.of(metrics.as_dict()) == Verdicts(approved=False, rejected=False)


def test_an_assistant_without_these_metrics_is_trusted(tmp_path: Path) -> None:
    assert assistant_metrics(tmp_path) == {}
    assert Verdicts.of({"auc": 0.9}) == Verdicts(approved=True, rejected=True)
