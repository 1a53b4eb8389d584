import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keydistill.distillation import ASSISTANT_SIZES, assistant_size
from keydistill.distillation.assistant import (
    AssistantRecipe,
    LabelledPairs,
    TrainedAssistant,
    Verdicts,
    assistant_metrics,
    judged_pairs,
    plan_assistant_training,
    train_assistant,
)
from keydistill.distillation.assistant.base import base_model
from keydistill.distillation.assistant.batches import length_batches
from keydistill.distillation.assistant.data import split
from keydistill.distillation.assistant.metrics import held_out_metrics
from keydistill.encoders import Assistant
from keydistill.errors import StorageError, TrainingError
from keydistill.files import work_folder
from tests.support.heard_progress import HeardProgress
from tests.support.places import ROOT
from tests.support.present import present

PRODUCTS = ["shoes", "phone", "lamp", "cable", "boots", "chair", "watch", "guitar"]


def made_pairs(count: int = 240, seed: int = 0) -> LabelledPairs:
    """Pairs whose keyphrase says whether they are relevant: what is cheap never is."""
    rng = np.random.default_rng(seed)
    cheap = rng.random(count) < 0.5
    products = rng.integers(0, len(PRODUCTS), count)
    return LabelledPairs(
        item_ids=[f"item-{number % 40}" for number in range(count)],
        titles=[f"{PRODUCTS[product]} in good condition" for product in products],
        categories=["Home > Things" if product % 2 else None for product in products],
        keyphrases=[
            f"{'cheap' if low else 'fine'} {PRODUCTS[product]} {number % 60}"
            for number, (product, low) in enumerate(zip(products, cheap, strict=True))
        ],
        targets=np.where(cheap, 0.1, 0.9).astype(np.float32),
    )


def recipe_of(base: str, **choices: Any) -> AssistantRecipe:
    """For the tiny model, whose word embeddings know nothing yet."""
    options = {"epochs": 4, "learning_rate": 1e-2, "head_learning_rate": 1e-2, **choices}
    return AssistantRecipe(
        base=base,
        layers=1,
        batch_size=16,
        held_out=0.25,
        dropout=0.1,
        frozen_embeddings=False,
        precision="fp32",
        **options,
    )


@pytest.fixture(scope="module")
def recipe(tiny_folder: Path) -> AssistantRecipe:
    return recipe_of(str(tiny_folder))


@pytest.fixture(scope="module")
def trained(
    recipe: AssistantRecipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainedAssistant, list[tuple[str, int | None]], int]:
    out = tmp_path_factory.mktemp("trained") / "assistant"
    progress = HeardProgress()
    assistant = train_assistant(made_pairs(), out, recipe, progress=progress)
    return assistant, progress.totals, sum(progress.counts)


def test_it_learns_what_the_judge_says(trained: tuple[TrainedAssistant, list[tuple[str, int | None]], int]) -> None:
    assistant, _, _ = trained
    assert assistant.metrics.auc > 0.95
    assert assistant.metrics.average_precision > 0.95
    assert assistant.metrics.f1 > 0.9
    assert assistant.metrics.ece_calibrated < 0.2
    # By the rule of succession six right ones of six are 7 of 8.
    assert min(assistant.metrics.approved_right, assistant.metrics.rejected_right) > 0.8
    losses = [entry["loss"] for entry in assistant.history if "loss" in entry]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert max(entry.get("average_precision", 0) for entry in assistant.history) == pytest.approx(
        assistant.metrics.average_precision, abs=1e-6
    )


def test_the_folder_is_an_assistant_with_template_and_calibration(
    trained: tuple[TrainedAssistant, list[tuple[str, int | None]], int], recipe: AssistantRecipe
) -> None:
    written_assistant, _, _ = trained
    assistant = Assistant.load(str(written_assistant.folder), device="cpu")
    assert assistant.item_text.template == recipe.item_text
    assert assistant.calibration == written_assistant.calibration
    fine, cheap = assistant.score(["lamp in good condition"] * 2, ["fine lamp 7", "cheap lamp 7"])
    assert fine > 0.8
    assert cheap < 0.2
    metrics = json.loads((written_assistant.folder / "metrics.json").read_text())
    assert metrics["auc"] == written_assistant.metrics.auc
    assert assistant_metrics(written_assistant.folder) == metrics
    assert Verdicts.of(metrics) == Verdicts(approved=True, rejected=True)
    assert metrics["recipe"]["learning_rate"] == 1e-2
    assert [path.name for path in written_assistant.folder.parent.iterdir()] == ["assistant"]


def test_progress_tells_every_step(trained: tuple[TrainedAssistant, list[tuple[str, int | None]], int]) -> None:
    assistant, stages, steps = trained
    assert stages == [("training", 48)]
    assert 0 < steps <= 48
    assert max(entry["step"] for entry in assistant.history) == steps


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_same_pairs_and_seed_same_assistant(
    trained: tuple[TrainedAssistant, list[tuple[str, int | None]], int], recipe: AssistantRecipe, tmp_path: Path
) -> None:
    first, _, _ = trained
    again = train_assistant(made_pairs(), tmp_path / "again", recipe)
    assert weights(again.folder) == weights(first.folder)
    assert again.metrics == first.metrics
    assert again.calibration == first.calibration
    assert again.history == first.history


def test_another_seed_is_another_assistant(
    trained: tuple[TrainedAssistant, list[tuple[str, int | None]], int], recipe: AssistantRecipe, tmp_path: Path
) -> None:
    first, _, _ = trained
    other = train_assistant(made_pairs(), tmp_path / "other", replace(recipe, seed=1, epochs=1))
    assert weights(other.folder) != weights(first.folder)


def longer_recipe_of(base: str) -> AssistantRecipe:
    return recipe_of(base, epochs=8, learning_rate=5e-3, head_learning_rate=5e-3)


KILLED = """
import os, signal, sys
from pathlib import Path
from keydistill.distillation.assistant import train_assistant
from keydistill.distillation.training.run import Steps
from tests.distillation.assistant.test_training import longer_recipe_of, made_pairs

def die(self, args, state, control, **_):
    if state.global_step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

Steps.on_step_end = die
train_assistant(made_pairs(), Path(sys.argv[2]), longer_recipe_of(sys.argv[1]), warm_up=made_pairs(64, seed=5))
"""


@pytest.fixture(scope="module")
def longer(tiny_folder: Path) -> AssistantRecipe:
    return longer_recipe_of(str(tiny_folder))


@pytest.fixture(scope="module")
def uninterrupted(longer: AssistantRecipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedAssistant:
    """An assistant whose training stopped early and was not interrupted."""
    assistant = train_assistant(
        made_pairs(), tmp_path_factory.mktemp("whole") / "whole", longer, warm_up=made_pairs(64, seed=5)
    )
    assert assistant.history[-1]["step"] < 96
    return assistant


@pytest.mark.parametrize(
    "when", [pytest.param("early", marks=pytest.mark.slow), "after an epoch without a better score"]
)
def test_a_killed_training_goes_on_to_the_same_assistant(
    longer: AssistantRecipe, uninterrupted: TrainedAssistant, tmp_path: Path, when: str
) -> None:
    # An epoch has 12 steps; two without a better score end the training.
    step = 15 if when == "early" else uninterrupted.history[-1]["step"] - 10
    out = tmp_path / "killed"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, longer.base, out, str(step)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not out.exists()
    checkpoints = tmp_path / ".killed.training" / "training"
    last = step // 12 * 12
    assert (checkpoints / f"checkpoint-{last}").is_dir()
    # What a process leaves that is killed while it writes.
    half = checkpoints / f"checkpoint-{last + 12}"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")

    progress = HeardProgress()
    resumed = train_assistant(made_pairs(), out, longer, warm_up=made_pairs(64, seed=5), progress=progress)
    assert progress.totals == [("training", 96 - last)]
    assert weights(resumed.folder) == weights(uninterrupted.folder)
    assert resumed.metrics == uninterrupted.metrics
    assert resumed.history == uninterrupted.history
    assert not (tmp_path / ".killed.training").exists()


def test_a_training_that_fails_after_its_last_step_is_not_done_again(
    longer: AssistantRecipe, uninterrupted: TrainedAssistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, warm_up = tmp_path / "failed", made_pairs(64, seed=5)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        # The package exports a function of the module's name.
        patched.setattr(sys.modules["keydistill.distillation.assistant.training"], "write_model_file", full)
        with pytest.raises(OSError, match="No space left"):
            train_assistant(made_pairs(), out, longer, warm_up=warm_up)
    assert not out.exists()
    progress = HeardProgress()
    again = train_assistant(made_pairs(), out, longer, warm_up=warm_up, progress=progress)
    assert progress.totals == []
    assert weights(again.folder) == weights(uninterrupted.folder)
    assert again.metrics == uninterrupted.metrics


def test_a_training_that_diverges_says_so(recipe: AssistantRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the training diverged; choose a lower learning rate"):
        train_assistant(made_pairs(), tmp_path / "out", replace(recipe, learning_rate=1e30))
    with pytest.raises(TrainingError, match="1 of 4 held-out pairs"):
        held_out_metrics(np.array([1, np.nan, 0, 2]), np.array([True, False, True, False]), seed=0)


def test_warm_up_pairs_are_learned_before(recipe: AssistantRecipe, tmp_path: Path) -> None:
    progress = HeardProgress()
    short = replace(recipe, epochs=1, held_out=0.5)
    pairs, warm_up = made_pairs(48), made_pairs(320, seed=7)
    warmed = train_assistant(
        pairs, tmp_path / "a", replace(short, warm_up_epochs=3), warm_up=warm_up, progress=progress
    )
    cold = train_assistant(pairs, tmp_path / "b", replace(short, learning_rate=1e-4))
    assert [stage for stage, _ in progress.totals] == ["warm-up", "training"]
    assert warmed.metrics.auc > cold.metrics.auc


def test_held_out_pairs_share_no_keyphrase() -> None:
    pairs = made_pairs()
    parts = split(pairs, 0.25, seed=3, warm_up=made_pairs(200, seed=1))
    assert not set(parts.training.keyphrases) & set(parts.held_out.keyphrases)
    assert not set(present(parts.warm_up).keyphrases) & set(parts.held_out.keyphrases)
    assert len(parts.training) + len(parts.held_out) == len(pairs)
    assert 60 <= len(parts.held_out) <= 64
    assert parts.held_out.keyphrases == split(pairs, 0.25, seed=3).held_out.keyphrases
    assert parts.held_out.keyphrases != split(pairs, 0.25, seed=4).held_out.keyphrases
    by_item = split(pairs, 0.25, by="item")
    assert not set(by_item.training.item_ids) & set(by_item.held_out.item_ids)


def test_the_order_of_pairs_does_not_decide_what_is_held_out() -> None:
    pairs = made_pairs()
    turned = pairs.take(np.arange(len(pairs))[::-1])
    assert set(split(pairs, 0.2).held_out.keyphrases) == set(split(turned, 0.2).held_out.keyphrases)


def test_too_few_pairs_are_refused(recipe: AssistantRecipe, tmp_path: Path) -> None:
    pairs = made_pairs()
    only = pairs.take(np.flatnonzero(pairs.labels))
    with pytest.raises(TrainingError, match="expected at least two positive and two negative"):
        train_assistant(only, tmp_path / "out", recipe)
    with pytest.raises(TrainingError, match="0 of the 0"):
        train_assistant(pairs.take(np.arange(0)), tmp_path / "out", recipe)
    assert list(tmp_path.iterdir()) == []


def test_targets_that_are_no_probabilities_are_refused() -> None:
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(TrainingError, match=r"pair 1 \('i', 'k'\) has the target"):
            LabelledPairs(["i"], ["t"], [None], ["k"], np.array([bad], dtype=np.float32))


def test_an_existing_folder_is_left_alone(recipe: AssistantRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exists already"):
        train_assistant(made_pairs(), tmp_path, recipe)


def test_a_plan_changes_nothing(recipe: AssistantRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_assistant_training(made_pairs(), recipe, warm_up=made_pairs(64, seed=5))
    assert plan.training + plan.held_out == 240
    assert 0 < plan.warm_up <= 64
    assert plan.seconds > 0
    assert plan.parameters > 30_522 * 32
    assert list(tmp_path.iterdir()) == []


def test_judgments_find_their_items_by_site() -> None:
    items = pa.table(
        {
            "item_id": ["1", "1", "2"],
            "title": ["US title", "DE title", "two"],
            "category_path": ["A > B", None, None],
            "site": ["US", "DE", None],
        }
    )
    judgments = pa.table(
        {
            "item_id": ["1", "1", "2", "3", "2"],
            "keyphrase": ["a", "b", "c", "d", "e"],
            "site": ["DE", "US", "FR", None, None],
            "label": [True, True, False, True, True],
            "probability": pa.array([0.75, None, None, 0.5, 0.25], pa.float32()),
        }
    )
    pairs, unknown = judged_pairs(judgments, items)
    assert unknown == 1
    assert list(pairs.titles) == ["DE title", "US title", "two", "two"]
    assert list(pairs.categories) == [None, "A > B", None, None]
    assert list(pairs.keyphrases) == ["a", "b", "c", "e"]
    assert pairs.targets.tolist() == [0.75, 1.0, 0.0, 0.25]
    assert judged_pairs(judgments.slice(0, 0), items)[0].targets.shape == (0,)


@pytest.mark.parametrize("size", [size.name for size in ASSISTANT_SIZES])
def test_every_size_is_what_it_says(size: str) -> None:
    row = assistant_size(size)
    model: Any = base_model(AssistantRecipe(size=size, max_length=64)).model
    assert model.config.num_hidden_layers == row.layers == len(model.base_model.encoder.layer)
    assert model.config.hidden_size == (row.hidden_size or 384)
    assert model.config.num_labels == 1


def test_sizes_and_layers_that_there_are_not(tiny_folder: Path) -> None:
    with pytest.raises(TrainingError, match="expected one of minilm-6, minilm-3, bert-mini"):
        assistant_size("bert-huge")
    with pytest.raises(TrainingError, match="cannot keep 2 layers of a base that has 1"):
        base_model(AssistantRecipe(size="minilm-3", base=str(tiny_folder), layers=2))
    with pytest.raises(TrainingError, match="reads 512 tokens at the most, asked for 513"):
        base_model(AssistantRecipe(size="minilm-3", base=str(tiny_folder), layers=1, max_length=513))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"epochs": 0}, "epochs is 0; expected a number above 0"),
        ({"held_out": 1.0}, "held_out"),
        ({"size": "x"}, "size"),
    ],
)
def test_choices_that_cannot_be_are_refused(choice: dict[str, Any], expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        AssistantRecipe(**choice)


def test_length_batches_hold_every_text_once_and_waste_little() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 60, size=3_000)
    batches = list(length_batches(lengths, 32, rng))
    assert sorted(np.concatenate(batches).tolist()) == list(range(3_000))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.05 * lengths.sum()
    # Short and long batches come in any order.
    means = [lengths[batch].mean() for batch in batches]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def interrupted(folder: Path) -> None:
    (folder / "part").write_text((folder / "part").read_text() + "more" if (folder / "part").exists() else "begun")
    raise KeyboardInterrupt


def work(out: Path, key: int) -> None:
    with work_folder(out, "work", {"key": key}) as folder:
        interrupted(folder)


def test_a_work_folder_is_kept_for_the_same_key_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for key, expected in [(1, "begun"), (1, "begunmore"), (2, "begun")]:
        with pytest.raises(KeyboardInterrupt):
            work(out, key)
        assert (tmp_path / ".out.work" / "part").read_text() == expected
    with pytest.raises(KeyboardInterrupt), work_folder(out, "work", {"key": 3}):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with work_folder(out, "work", {"key": 2}), pytest.raises(StorageError, match="another process is at work"):
        work(out, 2)
    assert list(tmp_path.iterdir()) == []


def test_no_assistant_reads_fields_that_nobody_gives_it() -> None:
    with pytest.raises(TrainingError, match="has the fields brand, colour; it reads title and category alone"):
        AssistantRecipe(item_text="{title} {brand} ({colour})")
