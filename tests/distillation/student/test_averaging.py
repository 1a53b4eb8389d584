import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from keydistill.distillation.student import average_students
from keydistill.encoders import Student
from keydistill.errors import TrainingError
from tests.support.tiny_models import make_tiny_student


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("two")
    return [make_tiny_student(folder / name, seed) for seed, name in enumerate(("first", "other"))]


def test_the_ends_are_the_students_themselves(two: list[Path], tmp_path: Path) -> None:
    texts = ["ps5", "red running shoes"]
    for share, folder in zip((0, 1), two, strict=True):
        student = Student.load(str(average_students(two[0], two[1], share, tmp_path / str(share))), device="cpu")
        expected = Student.load(str(folder), device="cpu")
        np.testing.assert_array_equal(student.embed_keyphrases(texts), expected.embed_keyphrases(texts))


def test_weights_are_averaged_one_by_one(two: list[Path], tmp_path: Path) -> None:
    out = average_students(two[0], two[1], 0.25, tmp_path / "out")
    first, other, mean = (load_file(folder / "model.safetensors") for folder in (*two, out))
    for name, value in mean.items():
        np.testing.assert_allclose(value, 0.75 * first[name] + 0.25 * other[name], atol=1e-7)


def test_students_of_other_shapes_are_refused(two: list[Path], tmp_path: Path) -> None:
    student = shutil.copytree(two[0], tmp_path / "larger")
    (student / "2_Dense").mkdir()
    shutil.copy(student / "model.safetensors", student / "2_Dense")
    with pytest.raises(TrainingError, match="have other files of weights"):
        average_students(two[0], student, 0.5, tmp_path / "out")
    with pytest.raises(TrainingError, match=r"share is 1.5; expected a number from 0 to 1"):
        average_students(two[0], two[1], 1.5, tmp_path / "out")
    assert not (tmp_path / "out").exists()
