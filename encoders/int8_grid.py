"""Weights on a grid of 8 bits: what lets a student's linear layers be computed in int8 with hardly another answer.

A weight matrix W, shape (outputs, inputs), is on the grid of scales a, shape (inputs,), if every row of W * a is a
multiple, from -127 to 127, of a 127th of the row's largest value. Its product with x is then that of 8-bit weights with
x / a: nothing of the weights is lost, and all that int8 costs is the rounding of x / a. The scales take from x what
would spoil that, channels that are many times as large as all others, and give it to the weights (arXiv 2211.10438,
"SmoothQuant").

Weights are put on the grid where a student is trained (`keydistill.distillation.student.rounding`), so that this is
the student, for every runtime: one that rounds them for itself gives a thirtieth of the first ten neighbours away.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keydistill.errors import StudentError

# File of the scales beside the transformer's weights; float32, named as `scale_name` has it.
INT8_SCALES = "int8.safetensors"
# Inputs of a layer's products that have scales. What goes into the projection behind attention needs none: it has no
# such channels.
ScaledInput = Literal["attention", "intermediate", "output"]

_LEVELS = 127
# Share of a step by which a weight on the grid may be off. Such weights come back from fp32 within a ten-thousandth;
# chance weights do not.
_NEAR = 0.01


def scale_name(layer: int, scaled: ScaledInput) -> str:
    """The name of an input's scales in their file."""
    return f"layer.{layer}.{scaled}"


def load_scales(transformer: Path) -> Mapping[str, NDArray[np.float32]] | None:
    """The scales of a transformer's folder; None where there are none.

    Raises:
        StudentError: The file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = transformer / INT8_SCALES
    if not file.is_file():
        return None
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise StudentError(f"{file} cannot be read ({error}); retrain or copy the student again") from None


def rounded(weights: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest weights on the grid; both of shape (outputs, inputs)."""
    levels, steps = _levels(weights, scales)
    on_grid: NDArray[np.float32] = (np.rint(levels) * steps / scales).astype(np.float32)
    return on_grid


def grid_levels(
    weights: NDArray[np.float32], scales: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Weights on the grid as levels and steps, so that weights * scales = levels * steps.

    Returns:
        Levels, shape (outputs, inputs), and steps, shape (outputs, 1); None if the weights are not on the grid.
    """
    levels, steps = _levels(weights, scales)
    nearest = np.rint(levels)
    return (nearest.astype(np.int8), steps) if np.abs(levels - nearest).max() < _NEAR else None


def _levels(
    weights: NDArray[np.float32], scales: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    wide = weights * scales
    # A row of zeros has any step.
    steps = np.maximum(np.abs(wide).max(axis=1, keepdims=True), np.finfo(np.float32).tiny * 1e6) / _LEVELS
    return wide / steps, steps.astype(np.float32)
