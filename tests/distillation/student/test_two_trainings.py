"""What becomes of a trained student: the average with one of clicks alone, and weights that are rounded for int8."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from keydistill.distillation.student import (
    Pairs,
    StudentData,
    StudentRecipe,
    TrainedStudent,
    average_students,
    train_student,
)
from keydistill.distillation.student.fit import sample_texts
from keydistill.distillation.student.rounding import round_student
from keydistill.distillation.training.run import Steps
from keydistill.encoders import Student
from keydistill.encoders.int8_grid import INT8_SCALES
from keydistill.errors import TrainingError
from tests.support.heard_progress import HeardProgress
from tests.support.student_data import little_data, made_data, ndcg_of, recipe_of, weights

# Steps of the training on clicks alone: 10 of them in batches of 4, four times, are enough for a second student.
CLICK_STEPS = 12


@pytest.fixture
def data() -> StudentData:
    return little_data()


@pytest.fixture(scope="module")
def averaged(tiny_folder: Path) -> StudentRecipe:
    return replace(recipe_of(tiny_folder), clicks_share=0.25, batch_size=4, epochs=4)


class Trainings(NamedTuple):
    """Students that several tests compare theirs with; nobody changes them."""

    all_tasks: TrainedStudent
    clicks_alone: TrainedStudent
    average: TrainedStudent
    # How the trainings of the average began.
    started: list[tuple[str, int | None]]


@pytest.fixture(scope="module")
def trained(averaged: StudentRecipe, tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    folder, data = tmp_path_factory.mktemp("trained"), little_data()
    single = replace(averaged, clicks_share=0)
    progress = HeardProgress()
    return Trainings(
        train_student(data, folder / "all", single),
        train_student(data.clicks_alone(), folder / "clicks", single),
        train_student(data, folder / "average", averaged, progress=progress),
        progress.totals,
    )


def easily_told(data: StudentData) -> StudentData:
    """The same, measured on so many items that weights of chance rank them clearly worse."""
    return replace(data, held_out=made_data().assistant)


@pytest.fixture(scope="module")
def plain(averaged: StudentRecipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedStudent:
    """The student of all tasks, measured on many items."""
    out = tmp_path_factory.mktemp("plain") / "student"
    return train_student(easily_told(little_data()), out, replace(averaged, clicks_share=0))


def randomise(folder: Path) -> bool:
    """Put weights of chance in place of a student's."""
    model = SentenceTransformer(str(folder), device="cpu")
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    model.save_pretrained(str(folder), create_model_card=False)
    return True


def patch_training(patched: pytest.MonkeyPatch, name: str, replacement: Callable[..., Any]) -> None:
    patched.setattr(sys.modules["keydistill.distillation.student.training"], name, replacement)


def test_the_weights_of_a_student_of_clicks_alone_are_averaged_in(
    data: StudentData, trained: Trainings, tmp_path: Path
) -> None:
    average, first = trained.average, trained.all_tasks.steps
    assert trained.started == [("all tasks", first), ("clicks alone", CLICK_STEPS)]
    expected = average_students(trained.all_tasks.folder, trained.clicks_alone.folder, 0.25, tmp_path / "average")
    assert weights(average.folder) == weights(expected)
    assert weights(average.folder) != weights(trained.all_tasks.folder)
    assert average.clicks_share == average.as_dict()["clicks_share"] == 0.25
    assert average.steps == first + CLICK_STEPS
    steps = [entry["step"] for entry in average.history]
    assert steps == sorted(steps)
    assert first < steps[-1] <= average.steps
    # What was measured is the student that was written.
    assert average.held_out_ndcg == pytest.approx(ndcg_of(Student.load(str(average.folder), device="cpu"), data))


def test_students_are_averaged_without_held_out_pairs_too(
    data: StudentData, averaged: StudentRecipe, tmp_path: Path
) -> None:
    student = train_student(replace(data, held_out=None), tmp_path / "student", averaged)
    assert student.clicks_share == 0.25
    assert student.held_out_ndcg is None


@pytest.mark.parametrize("where", ["in the second training", "between them", "at the average"])
def test_what_was_stopped_on_the_way_to_an_average_is_not_done_again(
    data: StudentData,
    averaged: StudentRecipe,
    trained: Trainings,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(self: Steps, args: Any, state: Any, control: Any, **_: object) -> None:
        if state.max_steps == CLICK_STEPS and state.global_step == (5 if where == "in the second training" else 1):
            raise KeyboardInterrupt

    def full(first: Path, other: Path, share: float, out: Path) -> None:
        shutil.copytree(first, out)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        if where == "at the average":
            patch_training(patched, "average_students", full)
        else:
            patched.setattr(Steps, "on_step_end", stop)
        with pytest.raises((KeyboardInterrupt, OSError)):
            train_student(data, tmp_path / "stopped", averaged)
    progress = HeardProgress()
    resumed = train_student(data, tmp_path / "stopped", averaged, progress=progress)
    remaining = {"in the second training": [("clicks alone", CLICK_STEPS - 3)], "between them": [("clicks alone", 12)]}
    assert progress.totals == remaining.get(where, [])
    average = trained.average
    assert weights(resumed.folder) == weights(average.folder)
    assert replace(resumed, folder=average.folder, history=[]) == replace(average, history=[])
    assert not (tmp_path / ".stopped.training").exists()


def test_an_average_that_is_clearly_worse_is_not_taken(
    data: StudentData,
    averaged: StudentRecipe,
    plain: TrainedStudent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def random_weights(first: Path, other: Path, share: float, out: Path) -> None:
        randomise(shutil.copytree(first, out))

    patch_training(monkeypatch, "average_students", random_weights)
    student = train_student(easily_told(data), tmp_path / "student", averaged)
    assert student.clicks_share == 0
    assert student.held_out_ndcg == plain.held_out_ndcg
    assert weights(student.folder) == weights(plain.folder)


def test_a_second_training_that_diverges_does_not_cost_the_first(
    data: StudentData,
    averaged: StudentRecipe,
    trained: Trainings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fit = sys.modules["keydistill.distillation.student.trainings"].fit_student

    def diverges(training_data: StudentData, *rest: object, **options: object) -> object:
        if training_data.assistant is None:
            raise TrainingError("the training diverged")
        return fit(training_data, *rest, **options)

    monkeypatch.setattr(sys.modules["keydistill.distillation.student.trainings"], "fit_student", diverges)
    student = train_student(data, tmp_path / "student", averaged)
    assert student.clicks_share == 0
    assert "the student is not averaged with one of clicks alone: the training diverged" in caplog.text
    assert weights(student.folder) == weights(trained.all_tasks.folder)


@pytest.mark.parametrize(
    ("tasks", "epochs"), [({"clicks"}, 4), ({"assistant", "search_relevance"}, 4), ({"clicks", "assistant"}, 1)]
)
def test_one_training_is_enough_without_clicks_with_few_or_with_nothing_else(
    data: StudentData, averaged: StudentRecipe, tasks: set[str], epochs: float, tmp_path: Path
) -> None:
    left_out: dict[str, Any] = {name: None for name in data.tasks() if name not in tasks}
    data = replace(data, **left_out)
    progress = HeardProgress()
    student = train_student(
        data,
        tmp_path / "student",
        replace(averaged, epochs=epochs),
        progress=progress,
    )
    assert [name for name, _ in progress.totals] == ["all tasks"]
    assert student.clicks_share == 0


@pytest.mark.parametrize("share", [0, 0.25])
def test_the_weights_are_rounded_for_int8_at_the_end(
    data: StudentData, averaged: StudentRecipe, trained: Trainings, share: float, tmp_path: Path
) -> None:
    recipe = replace(averaged, clicks_share=share, int8=True)
    student = train_student(data, tmp_path / "student", recipe)
    assert student.int8
    assert student.as_dict()["int8"]
    expected = shutil.copytree((trained.average if share else trained.all_tasks).folder, tmp_path / "plain")
    assert not (expected / INT8_SCALES).exists()
    assert round_student(expected, sample_texts(data, recipe))
    assert weights(student.folder) == weights(expected)
    assert student.held_out_ndcg == pytest.approx(ndcg_of(Student.load(str(student.folder), device="cpu"), data))


def test_rounding_that_makes_a_student_clearly_worse_is_taken_back(
    data: StudentData,
    averaged: StudentRecipe,
    plain: TrainedStudent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        "keydistill.distillation.student.rounding.round_student", lambda folder, texts: randomise(folder)
    )
    student = train_student(easily_told(data), tmp_path / "student", replace(averaged, clicks_share=0, int8=True))
    assert not student.int8
    assert student.held_out_ndcg == plain.held_out_ndcg
    assert weights(student.folder) == weights(plain.folder)
    assert "not rounded for int8: it would rank clearly worse" in caplog.text


def test_a_disk_that_is_full_while_weights_are_rounded_costs_no_training(
    data: StudentData, averaged: StudentRecipe, trained: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(averaged, int8=True)

    def full(folder: Path, texts: list[str]) -> None:
        randomise(folder)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("keydistill.distillation.student.rounding.round_student", full)
        with pytest.raises(OSError, match="No space left"):
            train_student(data, tmp_path / "student", recipe)
    progress = HeardProgress()
    again = train_student(data, tmp_path / "student", recipe, progress=progress)
    assert progress.totals == []
    expected = shutil.copytree(trained.average.folder, tmp_path / "plain")
    assert round_student(expected, sample_texts(data, recipe))
    assert weights(again.folder) == weights(expected)


def test_held_out_pairs_that_no_ranking_can_miss_are_no_score(
    data: StudentData, averaged: StudentRecipe, tmp_path: Path
) -> None:
    single = Pairs(np.array([10, 11]), np.array([10, 11]), np.ones(2, np.float32))
    trained = train_student(
        replace(data, held_out=single), tmp_path / "student", replace(averaged, clicks_share=0, epochs=1)
    )
    assert trained.held_out_ndcg is None
