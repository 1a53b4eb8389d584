"""The average of two students that were trained from one base: one student, with something of what each learned.

Weights of trainings from a common start lie so close together that those between them work, often better than either
end (arXiv 2203.05482, "Model soups"; arXiv 2109.01903).
"""

from collections.abc import Sequence
from pathlib import Path

from keydistill.distillation.training import average_weights
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
    return average_weights([first, other], [1 - share, share], out)


def mean_of_students(students: Sequence[Path], out: Path) -> Path:
    """Write the student whose weights are the mean of those of several; the files are as in `average_students`.

    Raises:
        TrainingError: The students are not of one shape.
    """
    return average_weights(students, [1 / len(students)] * len(students), out)
