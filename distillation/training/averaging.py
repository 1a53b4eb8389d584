"""The weighted mean of the weights of models of one shape: a model with something of what each of them learned.

Weights of trainings from a common start lie so close together that those between them work, often better than any of
them (arXiv 2203.05482, "Model soups"; arXiv 2109.01903).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from keydistill.errors import TrainingError


def average_weights(models: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    """Write the model whose weights are those of several, each by its share; the other files are those of the first.

    Args:
        models: Folders of models of one shape, trained from the same base.
        shares: Share of each, together 1.
        out: Folder to write, which does not exist yet.

    Returns:
        `out`.

    Raises:
        TrainingError: The models are not of one shape.
    """
    # It imports torch, which processes that only plan do without.
    from safetensors.torch import load_file, save_file

    first, *others = models
    files = _weights(first)
    for other in others:
        if files != _weights(other):
            raise TrainingError(f"{first} and {other} have other files of weights; expected models of one shape")
    shutil.copytree(first, out)
    for file in files:
        weights = [load_file(model / file) for model in models]
        shapes = [{name: value.shape for name, value in each.items()} for each in weights]
        for other, shape in zip(others, shapes[1:], strict=True):
            if shape != shapes[0]:
                shutil.rmtree(out)
                raise TrainingError(f"{file} of {first} and of {other} differ in shape; expected models of one shape")
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
