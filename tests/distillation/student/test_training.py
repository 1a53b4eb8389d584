"""Students of one tiny layer, trained for a few steps: what is wired to what, not how good it is."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from keydistill.distillation.losses import LOSS_NAMES
from keydistill.distillation.student import (
    Pairs,
    StudentData,
    StudentRecipe,
    TrainedStudent,
    train_student,
)
from keydistill.distillation.student.rotation import rotate
from keydistill.distillation.student.towers import transformer_of
from keydistill.distillation.training import run as training_run
from keydistill.encoders import Student
from keydistill.errors import TrainingError
from tests.support.heard_progress import HeardProgress
from tests.support.places import ROOT
from tests.support.present import present
from tests.support.student_data import TEXTS, TITLES, made_data, recipe_of, weights


@pytest.fixture
def data() -> StudentData:
    return made_data()


@pytest.fixture
def recipe(tiny_folder: Path) -> StudentRecipe:
    return recipe_of(tiny_folder)


@pytest.fixture(scope="module")
def uninterrupted(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedStudent:
    """A student whose training was not interrupted; nobody changes it."""
    return train_student(made_data(), tmp_path_factory.mktemp("whole") / "student", recipe_of(tiny_folder))


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_every_loss_trains_a_student_that_can_be_loaded(
    data: StudentData, recipe: StudentRecipe, loss: str, tmp_path: Path
) -> None:
    trained = train_student(data, tmp_path / "student", replace(recipe, distillation_loss=loss, epochs=1))
    student = Student.load(str(trained.folder), device="cpu")
    assert student.item_text.template == "{leaf}: {title}"
    assert trained.pairs == {"clicks": 10, "search_relevance": 120, "assistant": 120}
    assert 0 <= present(trained.held_out_ndcg) <= 1
    assert {"clicks_loss", "search_relevance_loss", "assistant_loss"} <= set().union(*trained.history)


def test_training_moves_the_student_towards_the_assistant(
    data: StudentData, recipe: StudentRecipe, tmp_path: Path
) -> None:
    before = Student.load(recipe.base, device="cpu")
    trained = train_student(
        replace(data, clicks=None, search_relevance=None, held_out=None),
        tmp_path / "student",
        replace(recipe, epochs=20),
    )
    after = Student.load(str(trained.folder), device="cpu")

    def correlation(student: Student) -> float:
        cosines = student.embed_items(TITLES, data.categories)[:10] @ student.embed_keyphrases(TEXTS).T
        return float(np.corrcoef(cosines.ravel(), np.eye(12)[:10].ravel())[0, 1])

    assert correlation(after) > correlation(before) + 0.1


def test_same_seed_gives_the_same_student(
    data: StudentData, recipe: StudentRecipe, uninterrupted: TrainedStudent, tmp_path: Path
) -> None:
    again = train_student(data, tmp_path / "again", recipe)
    assert weights(again.folder) == weights(uninterrupted.folder)


KILLED = """
import os, signal, sys
from pathlib import Path
from keydistill.distillation.student import train_student
from keydistill.distillation.training.run import Steps
from tests.support.student_data import made_data, recipe_of

def die(self, args, state, control, **_):
    if state.global_step == 19:
        os.kill(os.getpid(), signal.SIGKILL)

Steps.on_step_end = die
train_student(made_data(), Path(sys.argv[2]), recipe_of(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def killed(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student whose training was killed after step 19 of 34; every 8 steps it wrote a checkpoint."""
    out = tmp_path_factory.mktemp("killed") / "student"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tiny_folder, out],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not out.exists()
    return out


def test_another_recipe_begins_anew(data: StudentData, recipe: StudentRecipe, killed: Path, tmp_path: Path) -> None:
    shutil.copytree(killed.with_name(".student.training"), tmp_path / ".student.training")
    progress = HeardProgress()
    other = replace(recipe, scale=10.0, epochs=1)
    train_student(data, tmp_path / "student", other, progress=progress)
    assert progress.totals == [("all tasks", 17)]


def test_a_killed_training_goes_on_to_the_same_student(
    data: StudentData, recipe: StudentRecipe, killed: Path, uninterrupted: TrainedStudent
) -> None:
    checkpoints = killed.with_name(".student.training") / "checkpoints" / "all-tasks"
    assert (checkpoints / "checkpoint-16").is_dir()
    # What a process leaves that is killed while it writes.
    half = checkpoints / "checkpoint-24"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")

    progress = HeardProgress()
    resumed = train_student(data, killed, recipe, progress=progress)
    assert progress.totals == [("all tasks", 34 - 16)]
    assert weights(resumed.folder) == weights(uninterrupted.folder)
    assert resumed.held_out_ndcg == uninterrupted.held_out_ndcg
    # A task that had no batch since the beginning is not logged, one that had none of late as 0: that depends on where
    # it began.
    assert [[entry["step"], entry.get("loss")] for entry in resumed.history] == [
        [entry["step"], entry.get("loss")] for entry in uninterrupted.history
    ]
    assert not killed.with_name(".student.training").exists()


def test_a_training_that_fails_after_its_last_step_is_not_done_again(
    data: StudentData, recipe: StudentRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One evaluation without a better score ends it, some time before the last step.
    recipe = replace(recipe, epochs=6, patience=1, evaluations=12)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        # The package exports a function of the module's name.
        patched.setattr(sys.modules["keydistill.distillation.student.trainings"], "replace_json", full)
        with pytest.raises(OSError, match="No space left"):
            train_student(data, tmp_path / "failed", recipe)
    assert list(tmp_path.rglob("checkpoint-*"))
    assert not list(tmp_path.rglob("README.md"))
    progress = HeardProgress()
    again = train_student(data, tmp_path / "failed", recipe, progress=progress)
    assert progress.totals == []
    uninterrupted = train_student(data, tmp_path / "whole", recipe)
    assert uninterrupted.steps < 102
    assert weights(again.folder) == weights(uninterrupted.folder)
    assert replace(again, folder=uninterrupted.folder) == uninterrupted


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that has bf16 is faster in it")
def test_training_computes_in_bf16_only_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "_bf16_is_faster", lambda: False)
    assert [training_run.uses_bf16(precision) for precision in ("auto", "bf16", "fp32")] == [False, True, False]
    monkeypatch.setattr(training_run, "_bf16_is_faster", lambda: True)
    assert training_run.uses_bf16("auto") == torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_approved_pairs_are_no_negatives() -> None:
    data = StudentData(TITLES, [None] * 12, TEXTS, approved=Pairs(np.array([3]), np.array([4])))
    assert data.known().tolist() == [[3, 4]]


def test_word_embeddings_stay_as_they_are(recipe: StudentRecipe, uninterrupted: TrainedStudent) -> None:
    models = [SentenceTransformer(str(folder), device="cpu") for folder in (recipe.base, uninterrupted.folder)]
    before, after = (transformer_of(model).get_input_embeddings().weight.detach().numpy() for model in models)
    np.testing.assert_array_equal(before, after)


def test_rotation_changes_no_cosine_and_puts_most_into_the_first_dimensions(tiny_folder: Path) -> None:
    texts = [f"{colour} {thing} {number}" for colour in ("red", "blue") for thing in TITLES for number in range(3)]
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    before = model.encode(texts, normalize_embeddings=True)
    rotate(model, texts)
    after = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)

    def share_of(vectors: np.ndarray, dimensions: int) -> float:
        return float(np.square(vectors[:, :dimensions]).sum() / np.square(vectors).sum())

    assert share_of(after, 4) > share_of(before, 4)
    assert share_of(after, 4) == pytest.approx((np.linalg.svd(before)[1][:4] ** 2).sum() / len(before), abs=1e-4)
    modules = len(model)
    rotate(model, texts)
    assert len(model) == modules


def test_a_student_has_the_rotation_in_its_folder(
    data: StudentData, recipe: StudentRecipe, uninterrupted: TrainedStudent, tmp_path: Path
) -> None:
    other = train_student(data, tmp_path / "plain", replace(recipe, rotated=False, epochs=1))
    turned, plain = (SentenceTransformer(str(each.folder), device="cpu") for each in (uninterrupted, other))
    assert len(turned) == len(plain) + 1
    # How it was trained must not decide how it is served.
    assert "eager" not in (uninterrupted.folder / "config.json").read_text()


def test_hard_negatives_are_the_items_own_where_it_has_any(data: StudentData) -> None:
    rejected = Pairs(np.array([3, 3, 5]), np.array([7, 8, 1]), np.zeros(3, np.float32))
    negatives = replace(data, rejected=rejected).hard_negatives(present(data.clicks), 6, np.random.default_rng(0))
    assert negatives.shape == (10, 6)
    assert set(negatives[3]) == {7, 8}
    assert set(negatives[5]) == {1}
    assert set(negatives[0]) <= {7, 8, 1}
    assert data.hard_negatives(present(data.clicks), 6, np.random.default_rng(0)).shape == (10, 0)


def test_hard_negatives_push_their_keyphrases_away(data: StudentData, recipe: StudentRecipe, tmp_path: Path) -> None:
    own = np.arange(10)
    data = StudentData(TITLES, data.categories, TEXTS, clicks=data.clicks)
    wrong = replace(data, rejected=Pairs(own, own + 1, np.zeros(10, np.float32)))

    def margin(name: str, data: StudentData) -> float:
        """Own keyphrase against the next one, which is never in the same batch by itself."""
        trained = train_student(data, tmp_path / name, replace(recipe, batch_size=2, epochs=3, hard_negatives=1))
        student = Student.load(str(trained.folder), device="cpu")
        cosines = student.embed_items(TITLES, data.categories) @ student.embed_keyphrases(TEXTS).T
        return float((cosines[own, own] - cosines[own, own + 1]).mean())

    assert margin("hard", wrong) > margin("easy", data)


def test_a_training_that_diverges_says_so(data: StudentData, recipe: StudentRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the training diverged: weights are not finite; choose a lower"):
        train_student(replace(data, held_out=None), tmp_path / "student", replace(recipe, learning_rate=1e38))
    assert not (tmp_path / "student").exists()


def test_an_existing_folder_is_not_overwritten(data: StudentData, recipe: StudentRecipe, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    with pytest.raises(TrainingError, match="exists already"):
        train_student(data, tmp_path / "student", recipe)


def test_nothing_to_learn_from_is_an_error(data: StudentData, recipe: StudentRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no pairs"):
        train_student(StudentData(TITLES, data.categories, TEXTS), tmp_path / "student", recipe)
    assert not (tmp_path / "student").exists()


def test_too_many_layers_are_refused(data: StudentData, recipe: StudentRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot keep 7 layers"):
        train_student(data, tmp_path / "student", replace(recipe, layers=7))
