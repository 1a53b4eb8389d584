"""The average of two students that were trained from one base: one student, with something of what each learned.

Weights of trainings from a common start lie so close together that those between them work, often better than either
end (arXiv 2203.05482, "Model soups"; arXiv 2109.01903).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from keydistill.errors import TrainingError


def average_students(first: Path, other: Path, share: float, out: Path) -> Path:
    """Write the student whose weights are those of `first` by 1 - `share` and those of `other` by `share`.

    Args:
        first: Folder of a student, whose tokenizer, configuration and all other files are copied.
        other: Folder of a student of the same shape, trained from the same base.
        share: Share of `other`, from 0 to 1.
        out: Folder to write, which does not exist yet.

    Returns:
        `out`.

    Raises:
        TrainingError: The share is out of its range, or the students are not of one shape.
    """
    if not 0 <= share <= 1:
        raise TrainingError(f"share is {share}; expected a number from 0 to 1")
    return _averaged([first, other], [1 - share, share], out)


def mean_of_students(students: Sequence[Path], out: Path) -> Path:
    """Write the student whose weights are the mean of those of several; the files are as in `average_students`.

    Raises:
        TrainingError: The students are not of one shape.
    """
    return _averaged(students, [1 / len(students)] * len(students), out)


def _averaged(students: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    # It imports torch, which processes that only plan do without.
    from safetensors.torch import load_file, save_file

    first, *others = students
    files = _weights(first)
    for other in others:
        if files != _weights(other):
            raise TrainingError(f"{first} and {other} have other files of weights; expected students of one shape")
    shutil.copytree(first, out)
    for file in files:
        weights = [load_file(student / file) for student in students]
        shapes = [{name: value.shape for name, value in each.items()} for each in weights]
        for other, shape in zip(others, shapes[1:], strict=True):
            if shape != shapes[0]:
                shutil.rmtree(out)
                raise TrainingError(f"{file} of {first} and of {other} differ in shape; expected students of one shape")
        mean = {
            name: sum(
                (share * each[name] for share, each in zip(shares, weights, strict=True)),
                start=value.new_zeros(()),
            ).to(value.dtype)
            for name, value in weights[0].items()
        }
        save_file(mean, out / file, metadata={"format": "pt"})
    return out


def _weights(folder: Path) -> list[Path]:
    return sorted(file.relative_to(folder) for file in folder.rglob("*.safetensors"))
