"""The average of two students that were trained from one base: one student, with something of what each learned.

Weights of trainings from a common start lie so close together that those between them work, often better than either
end (arXiv 2203.05482, "Model soups"; arXiv 2109.01903).
"""

import shutil
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
    # It imports torch, which processes that only plan do without.
    from safetensors.torch import load_file, save_file

    if not 0 <= share <= 1:
        raise TrainingError(f"share is {share}; expected a number from 0 to 1")
    files = sorted(file.relative_to(first) for file in first.rglob("*.safetensors"))
    if files != sorted(file.relative_to(other) for file in other.rglob("*.safetensors")):
        raise TrainingError(f"{first} and {other} have other files of weights; expected students of one shape")
    shutil.copytree(first, out)
    for file in files:
        weights, other_weights = load_file(first / file), load_file(other / file)
        if {name: value.shape for name, value in weights.items()} != {
            name: value.shape for name, value in other_weights.items()
        }:
            shutil.rmtree(out)
            raise TrainingError(f"{file} of {first} and of {other} differ in shape; expected students of one shape")
        mean = {
            name: ((1 - share) * value + share * other_weights[name]).to(value.dtype) for name, value in weights.items()
        }
        save_file(mean, out / file, metadata={"format": "pt"})
    return out
