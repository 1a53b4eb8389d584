"""Cross-fitting: each pair is held out once by a model of its own fold, and the assistant learns all of them."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keydistill.distillation.assistant import AssistantRecipe, LabelledPairs, plan_assistant_training, train_assistant
from keydistill.distillation.assistant.data import effective_groups, folds
from keydistill.distillation.assistant.members import splits_of
from keydistill.distillation.assistant.metrics import held_out_metrics
from keydistill.errors import TrainingError
from tests.distillation.assistant.test_training import made_pairs, recipe_of
from tests.support.heard_progress import HeardProgress
from tests.support.present import present


def lists_of(sizes: list[int]) -> LabelledPairs:
    """Pairs of as many keyphrases as there are sizes, every other pair relevant."""
    keyphrases = [f"keyphrase {number}" for number, size in enumerate(sizes) for _ in range(size)]
    count = len(keyphrases)
    targets = (np.arange(count) % 2).astype(np.float32)
    return LabelledPairs([str(n) for n in range(count)], ["title"] * count, [None] * count, keyphrases, targets)


def test_every_pair_is_held_out_once_with_its_keyphrase() -> None:
    pairs, warm_up = made_pairs(), made_pairs(200, seed=1)
    parts = folds(pairs, 3, seed=3, warm_up=warm_up)
    held_out = [key for part in parts for key in zip(part.held_out.item_ids, part.held_out.keyphrases, strict=True)]
    assert sorted(held_out) == sorted(zip(pairs.item_ids, pairs.keyphrases, strict=True))
    for part in parts:
        kept_from = set(part.held_out.keyphrases)
        assert not kept_from & set(part.training.keyphrases)
        assert not kept_from & set(present(part.warm_up).keyphrases)
        assert len(part.training) + len(part.held_out) == len(pairs)
    turned = folds(pairs.take(np.arange(len(pairs))[::-1]), 3, seed=3)
    assert [set(part.held_out.keyphrases) for part in turned] == [set(part.held_out.keyphrases) for part in parts]


def test_long_lists_are_dealt_to_different_folds() -> None:
    parts = folds(lists_of([40, 40, 40, *[4] * 30]), 3)
    assert [len(part.held_out) for part in parts] == [80, 80, 80]


def test_a_fold_of_one_kind_of_pairs_is_refused() -> None:
    pairs = lists_of([6, 6])
    with pytest.raises(
        TrainingError, match=r"0 of the 0 held-out pairs are positive.*; give more pairs, or make fewer folds"
    ):
        folds(pairs, 3)


def test_few_keyphrases_are_cross_fitted_and_many_are_split_once() -> None:
    recipe = AssistantRecipe(folds=0)
    few, many = lists_of([40] * 57 + [1] * 300), lists_of([2] * 600)
    assert effective_groups(many, "keyphrase") == pytest.approx(600)
    assert effective_groups(few, "keyphrase") < 100
    assert [len(splits_of(pairs, recipe, None)) for pairs in (few, many)] == [3, 1]
    assert [len(splits_of(few, replace(recipe, folds=count), None)) for count in (1, 5)] == [1, 5]


@pytest.fixture(scope="module")
def folded_recipe(tiny_folder: Path) -> AssistantRecipe:
    return replace(recipe_of(str(tiny_folder), epochs=1), folds=2)


def test_the_assistant_learns_all_pairs_and_no_model_is_trained_twice(
    folded_recipe: AssistantRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, pairs = tmp_path / "out", made_pairs(96)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        # The package exports a function of the module's name.
        patched.setattr(sys.modules["keydistill.distillation.assistant.training"], "write_model_file", full)
        with pytest.raises(OSError, match="No space left"):
            train_assistant(pairs, out, folded_recipe)
    models = [tmp_path / f".out.training/{name}/model/model.safetensors" for name in ("fold-1", "fold-2", "all")]
    written = [model.read_bytes() for model in models]
    assert len(set(written)) == 3
    progress = HeardProgress()
    trained = train_assistant(pairs, out, folded_recipe, progress=progress)
    assert progress.totals == []
    assert (out / "model.safetensors").read_bytes() == written[2]
    assert (trained.metrics.folds, trained.metrics.held_out_pairs, trained.pairs) == (2, 96, 96)
    # 96 pairs in batches of 16: one epoch on all of them.
    assert trained.history[-1]["step"] == 6
    assert not (tmp_path / ".out.training").exists()


def test_nobody_is_refused_for_folds_that_nobody_asked_for(folded_recipe: AssistantRecipe) -> None:
    two = lists_of([30, 30])
    with pytest.raises(TrainingError, match="make fewer folds"):
        splits_of(two, replace(folded_recipe, folds=3), None)
    assert len(splits_of(two, replace(folded_recipe, folds=0), None)) == 1


def test_a_plan_says_how_many_models(folded_recipe: AssistantRecipe) -> None:
    plan = plan_assistant_training(made_pairs(96), folded_recipe)
    assert plan.folds == 2
    assert plan.training + plan.held_out == 96


def test_calibration_and_verdicts_are_measured_on_folds_that_they_were_not_fitted_to() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(3_000) < 0.5
    folds_of_pairs = np.arange(3_000) % 3
    # Half of the logits say nothing: what is fitted to its own noise would look better than it is.
    logits = rng.normal(size=3_000) + 2 * labels
    metrics = held_out_metrics(
        logits, labels, seed=0, groups=[str(n // 10) for n in range(3_000)], folds=folds_of_pairs
    )
    assert (metrics.folds, metrics.held_out_pairs, metrics.held_out_groups) == (3, 3_000, 300)
    assert metrics.brier_calibrated < metrics.brier
    assert metrics.approved_right_low < metrics.approved_right < metrics.approved_right_high
    assert metrics.rejected_right_low < metrics.rejected_right < metrics.rejected_right_high
    # Normal scores whose means differ by two.
    assert metrics.auc == pytest.approx(0.921, abs=0.02)
    assert present(metrics.auc_within) == pytest.approx(0.921, abs=0.02)
    assert metrics.held_out_lists == pytest.approx(300, abs=5)


def test_between_keyphrases_is_not_within_them() -> None:
    rng = np.random.default_rng(3)
    # The assistant knows how good a keyphrase is, and nothing of its items.
    keyphrases = np.repeat(np.arange(40), 40)
    share = rng.random(40)
    labels = rng.random(1_600) < share[keyphrases]
    metrics = held_out_metrics(
        share[keyphrases] + 1e-3 * rng.normal(size=1_600), labels, seed=0, groups=keyphrases.astype(str).tolist()
    )
    assert metrics.auc > 0.75
    assert present(metrics.auc_within) == pytest.approx(0.5, abs=0.05)
    assert present(metrics.auc_within_low) < 0.5 < present(metrics.auc_within_high)
    # A student that knows as little of the items is no worse; one that knows them is better.
    groups = keyphrases.astype(str).tolist()
    for knows in (0.0, 1.0):
        student = share[keyphrases] + knows * labels + rng.normal(size=1_600)
        beside = held_out_metrics(rng.normal(size=1_600), labels, seed=0, groups=groups, of_student=student)
        low, high = present(beside.auc_within_gain_low), present(beside.auc_within_gain_high)
        assert high < -0.2 if knows else low < 0 < high
        assert present(beside.auc_within_gain) == pytest.approx(
            present(beside.auc_within) - present(beside.auc_within_student)
        )
        assert present(beside.auc_within_student) == pytest.approx(0.76 if knows else 0.5, abs=0.06)
    alone = held_out_metrics(share[keyphrases], labels, seed=0)
    assert (alone.auc_within, alone.held_out_lists) == (None, 0)
