"""When an assistant's verdicts on single pairs are trusted."""

from pathlib import Path

import numpy as np
import pytest

from keydistill.distillation.assistant import Verdicts, assistant_metrics, chance_level, check_better_than_chance
from keydistill.distillation.assistant.metrics import held_out_metrics
from keydistill.distillation.assistant.verdicts import auc_interval, verdicts_right
from keydistill.errors import TrainingError


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


def test_the_interval_of_the_auc_has_the_true_one_in_most_samples() -> None:
    rng = np.random.default_rng(0)
    samples = 2_000
    # Normal scores whose means differ by one have an AUC of 0.7602.
    positives, negatives = rng.normal(1, 1, (samples, 40, 1)), rng.normal(0, 1, (samples, 1, 60))
    limits = [auc_interval(auc, 40, 60) for auc in (positives > negatives).mean(axis=(1, 2)).tolist()]
    assert np.mean([low <= 0.7602 <= high for low, high in limits]) == pytest.approx(0.95, abs=0.02)
    assert auc_interval(1.0, 5, 5) == (1.0, 1.0)


@pytest.mark.parametrize("older", [False, True])
def test_an_assistant_at_chance_level_decides_about_nothing(older: bool) -> None:
    labels = np.arange(480) % 3 > 0
    metrics = held_out_metrics(np.random.default_rng(0).normal(size=480), labels, seed=0).as_dict()
    metrics |= {"approved_right": 0.9, "rejected_right": 0.9}
    if older:
        # Its AUC and the numbers of pairs say as much.
        metrics = {name: value for name, value in metrics.items() if name not in ("auc_low", "auc_high")}
    assert Verdicts.of(metrics) == Verdicts(approved=False, rejected=False)
    with pytest.raises(TrainingError, match=r"no better than chance: held-out AUC 0\.\d+ \(.*480 pairs\)"):
        check_better_than_chance(metrics, None)
    with pytest.raises(TrainingError, match="--trust-assistant REASON"):
        check_better_than_chance(metrics, " ")
    check_better_than_chance(metrics, "a trial")


def test_an_assistant_that_tells_pairs_apart_is_above_chance() -> None:
    labels = np.arange(480) % 3 > 0
    logits = np.random.default_rng(0).normal(size=480) + labels
    metrics = held_out_metrics(logits, labels, seed=0)
    assert metrics.auc_low < metrics.auc < metrics.auc_high
    assert chance_level(metrics.as_dict()) is None
    assert chance_level({}) is None


def test_pairs_of_few_keyphrases_say_less_than_as_many_of_their_own() -> None:
    rng = np.random.default_rng(3)
    # The assistant knows how good a keyphrase is, for better or worse, and nothing of its items.
    keyphrases = np.repeat(np.arange(8), 40)
    labels = rng.random(320) < rng.random(8)[keyphrases]
    logits = rng.normal(size=8)[keyphrases] + 0.1 * rng.normal(size=320)
    alone = held_out_metrics(logits, labels, seed=0)
    together = held_out_metrics(logits, labels, seed=0, groups=[str(number) for number in keyphrases])
    assert (alone.held_out_groups, together.held_out_groups) == (320, 8)
    assert together.auc == alone.auc
    assert together.auc_high - together.auc_low > 2 * (alone.auc_high - alone.auc_low)
    assert chance_level(together.as_dict()) is not None
    one = held_out_metrics(logits, labels, seed=0, groups=["a"] * 320)
    assert (one.auc_low, one.auc_high) == (0, 1)
