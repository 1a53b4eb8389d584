"""The mean of trainings with several seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from keydistill.distillation.student import TrainedStudent, train_student
from keydistill.encoders import Student
from keydistill.errors import TrainingError
from tests.support.heard_progress import HeardProgress
from tests.support.student_data import little_data, ndcg_of, recipe_of, weights


@pytest.fixture(scope="module")
def trained(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedStudent:
    recipe = replace(recipe_of(tiny_folder), seeds=3, seed=5, batch_size=4)
    return train_student(little_data(), tmp_path_factory.mktemp("seeds") / "student", recipe)


def test_weights_are_the_mean_of_those_of_each_seed(trained: TrainedStudent) -> None:
    assert [member.parent for member in trained.members] == [trained.folder.with_name("student.seeds")] * 3
    name = "model.safetensors"
    each = [load_file(member / name) for member in trained.members]
    for key, value in load_file(trained.folder / name).items():
        np.testing.assert_allclose(value, np.mean([weights_of[key] for weights_of in each], axis=0), atol=1e-6)
    assert len({str(weights(member)) for member in trained.members}) == 3
    assert trained.as_dict()["averaged_seeds"] == 3
    assert trained.held_out_ndcg == pytest.approx(
        ndcg_of(Student.load(str(trained.folder), device="cpu"), little_data())
    )
    steps = [entry["step"] for entry in trained.history]
    assert steps == sorted(steps)


def test_the_first_of_several_seeds_is_the_student_of_that_seed_alone(
    trained: TrainedStudent, tiny_folder: Path, tmp_path: Path
) -> None:
    recipe = replace(recipe_of(tiny_folder), seed=5, batch_size=4)
    alone = train_student(little_data(), tmp_path / "student", recipe)
    assert alone.members == ()
    assert "averaged_seeds" not in alone.as_dict()
    assert weights(alone.folder) == weights(trained.members[0])


def test_an_interrupted_average_does_not_train_a_seed_again(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keydistill.distillation.student import training

    recipe = replace(recipe_of(tiny_folder), seeds=2, epochs=1, batch_size=8)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(training, "mean_of_students", full)
        with pytest.raises(OSError, match="No space"):
            train_student(little_data(), tmp_path / "student", recipe)
    progress = HeardProgress()
    resumed = train_student(little_data(), tmp_path / "student", recipe, progress=progress)
    assert progress.totals == []
    assert len(resumed.members) == 2


def test_what_stands_where_the_students_of_each_seed_would_be_kept_stays(tiny_folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "student.seeds" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("do not lose")
    with pytest.raises(TrainingError, match=r"student\.seeds exists already"):
        train_student(little_data(), tmp_path / "student", replace(recipe_of(tiny_folder), seeds=2))
    assert mine.read_text() == "do not lose"
