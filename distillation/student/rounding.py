"""Rounding of a student's weights to the grid of int8, so that it can be computed in int8 with hardly another answer.

What the grid is, and why the student is rounded and not left to whoever computes it: `keydistill.encoders.int8_grid`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import INT8_SCALES, ScaledInput, StudentFiles, rounded, scale_name, token_batches
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.encoders.runtime.torch.saved_bert import SavedBert

if TYPE_CHECKING:
    from torch import nn

# How much of the difference between an input's channels goes to the weights (arXiv 2211.10438, equation 4, by the
# inputs' greatest values alone). With these shares the vectors of trained students in int8 are a quarter less far off
# than with 0.75 for all of them.
_SHARES: dict[ScaledInput, float] = {"attention": 1.0, "intermediate": 0.75, "output": 0.5}
# The linear layers of each input that has scales, and those of the one that has none.
_READERS: dict[ScaledInput, tuple[str, ...]] = {
    "attention": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "intermediate": ("intermediate.dense",),
    "output": ("output.dense",),
}
_UNSCALED = "attention.output.dense"


def round_student(folder: Path, texts: Sequence[str]) -> bool:
    """Replace a student's linear weights by the nearest ones on the grid, and write their scales beside them.

    Args:
        folder: Folder of the student; its files are changed, so that nobody else may have it yet.
        texts: Some thousand texts such as it will embed: their values in each layer's inputs decide the scales.

    Returns:
        Whether it was done: only for students of the usual kind (a BERT with pooling and linear layers).
    """
    from safetensors.numpy import load_file, save_file

    runtime = TorchRuntime.load(folder, device="cpu")
    if not texts or not isinstance(runtime.model, SavedBert):
        return False
    files = StudentFiles.find(str(folder))
    greatest = _greatest_inputs(runtime, files, texts)
    place = files.layout.items[0]
    weights = load_file(place / "model.safetensors")
    scales: dict[str, NDArray[np.float32]] = {}
    for layer in range(len(runtime.model.bert.encoder.layer)):
        name = f"encoder.layer.{layer}."
        plain = f"{name}{_UNSCALED}.weight"
        weights[plain] = rounded(weights[plain], np.ones(weights[plain].shape[1], dtype=np.float32))
        for scaled, readers in _READERS.items():
            of_input = _scales(greatest[layer, scaled], _SHARES[scaled])
            scales[scale_name(layer, scaled)] = of_input
            for reader in readers:
                weights[f"{name}{reader}.weight"] = rounded(weights[f"{name}{reader}.weight"], of_input)
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    save_file(scales, place / INT8_SCALES)
    return True


def _scales(greatest: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    # A channel that is always zero has no scale of its own.
    powers = np.maximum(greatest, 1e-3 * greatest.max()) ** share
    scales: NDArray[np.float32] = (powers / powers.mean()).astype(np.float32)
    return scales


def _greatest_inputs(
    runtime: TorchRuntime, files: StudentFiles, texts: Sequence[str]
) -> dict[tuple[int, ScaledInput], NDArray[np.float32]]:
    """The greatest magnitude of each channel, by layer and input."""
    greatest: dict[tuple[int, ScaledInput], NDArray[np.float32]] = defaultdict(lambda: np.zeros(1, dtype=np.float32))

    def watch(layer: int, scaled: ScaledInput) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            channels = inputs[0].detach().abs().flatten(0, -2).amax(dim=0).numpy()
            greatest[layer, scaled] = np.maximum(greatest[layer, scaled], channels)

        return note

    model: Any = runtime.model
    hooks = [
        block.get_submodule(readers[0]).register_forward_pre_hook(watch(layer, scaled))
        for layer, block in enumerate(model.bert.encoder.layer)
        for scaled, readers in _READERS.items()
    ]
    try:
        for _ in runtime.run(token_batches(texts, files.tokens(), runtime.batch_tokens)):
            pass
    finally:
        for hook in hooks:
            hook.remove()
    return dict(greatest)
