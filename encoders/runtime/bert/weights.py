"""The weights of a student of the usual kind, as our own runtimes need them: by name, whole, on the grid of int8."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.int8_grid import ScaledInput, grid_levels, load_scales, scale_name
from keydistill.encoders.runtime.bert.usual import NO_WEIGHTS, UsualBert
from keydistill.encoders.student_layout import read_json

Floats = NDArray[np.float32]
_IDENTITY = ("torch.nn.modules.linear.Identity", None)


class UnusualError(Exception):
    """The student is not quite of the usual kind, or has no weights for int8 where these are asked for."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer behind the pooling: weights, shape (outputs, inputs), and bias, shape (outputs,), or None."""

    weights: Floats
    bias: Floats | None


# What stands behind the transformer: the mean of all tokens, a linear layer, or the division by the length.
LaterModule = Literal["mean", "normalize"] | Dense


class BertWeights:
    """A BERT's weights by name, and what its configuration says.

    Attributes:
        layers: Number of layers.
        heads: Attention heads per layer.
        width: Numbers per token.
        inner: Numbers per token between the two products of a feed-forward.
        epsilon: Number that normalising adds to the variance.
        later_modules: Modules that stand behind it, in order; the mean comes first.
    """

    def __init__(self, files: UsualBert, *, int8: bool) -> None:
        """Read a student's weights.

        Args:
            files: The student.
            int8: Whether its linear layers are wanted as levels (`levels`).

        Raises:
            UnusualError: It has another kind of weights, modules or activation, or none for int8.
            ValueError: Weights are of other sizes than its configuration says.
            OSError, SafetensorError, StudentError: A file cannot be read.
        """
        from safetensors.numpy import load_file

        config = files.config
        self._scales = load_scales(files.transformer) if int8 else None
        if int8 and self._scales is None:
            raise UnusualError
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_attention_heads"])
        self.width = int(config["hidden_size"])
        self.inner = int(config["intermediate_size"])
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._weights: Mapping[str, Floats] = load_file(files.weights)
        if not self._is_whole() or config.get("hidden_act", "gelu") != "gelu":
            raise UnusualError
        self._check_sizes(config)
        self.later_modules = tuple(_later_modules(files.later_modules))
        if self.later_modules[:1] != ("mean",) or "mean" in self.later_modules[1:]:
            # Without it there is no vector per text.
            raise UnusualError

    def __getitem__(self, name: str) -> Floats:
        return self._weights[name]

    @property
    def places(self) -> Floats:
        """The vector that is added to a token's word vector, by its place, shape (longest input, width)."""
        kinds = self["embeddings.token_type_embeddings.weight"]
        summed: Floats = self["embeddings.position_embeddings.weight"] + kinds[0]
        return summed

    def scales(self, layer: int, scaled: ScaledInput) -> Floats:
        """The scales of an input, shape (inputs,): it is divided by them before it is rounded.

        Raises:
            UnusualError: There are none, or they are of another width.
        """
        scales = (self._scales or {}).get(scale_name(layer, scaled))
        if scales is None or scales.shape != (self.inner if scaled == "output" else self.width,):
            raise UnusualError
        return scales

    def levels(self, name: str, scales: Floats | None = None) -> tuple[NDArray[np.int8], Floats]:
        """A linear layer's weights as levels, shape (outputs, inputs), and steps, shape (outputs, 1).

        Args:
            name: Name of the layer.
            scales: Scales of its input; None for an input that has none.

        Raises:
            UnusualError: They are not on the grid.
        """
        weights = self[f"{name}.weight"]
        on_grid = grid_levels(weights, np.ones(weights.shape[1], dtype=np.float32) if scales is None else scales)
        if on_grid is None:
            raise UnusualError
        return on_grid

    def are_finite(self) -> bool:
        """Whether no weight is infinite or not a number."""
        denses = [module.weights for module in self.later_modules if isinstance(module, Dense)]
        return all(bool(np.isfinite(values).all()) for values in (*self._weights.values(), *denses))

    def _check_sizes(self, config: Mapping[str, Any]) -> None:
        sizes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (int(config["vocab_size"]), self.width),
            "embeddings.position_embeddings.weight": (int(config["max_position_embeddings"]), self.width),
            "embeddings.token_type_embeddings.weight": (int(config.get("type_vocab_size", 2)), self.width),
            "intermediate.dense.weight": (self.inner, self.width),
            "intermediate.dense.bias": (self.inner,),
            "output.dense.weight": (self.width, self.inner),
        }
        for name, values in self._weights.items():
            if name in NO_WEIGHTS:
                continue
            by_kind = name if name.startswith("embeddings.") else re.sub(r"^encoder\.layer\.\d+\.", "", name)
            square = name.endswith(".weight") and "LayerNorm" not in name
            expected = sizes.get(by_kind, (self.width, self.width) if square else (self.width,))
            if values.shape != expected:
                raise ValueError(f"size mismatch for {name}: {values.shape}, expected {expected}")
        if self.width % self.heads:
            raise ValueError(
                f"size mismatch: {self.width} numbers per token, expected a multiple of {self.heads} heads"
            )

    def _is_whole(self) -> bool:
        """Whether the weights are those of such a BERT, and all of them."""
        names = {f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
        modules = ["embeddings.LayerNorm"]
        for layer in range(self.layers):
            modules += [
                f"encoder.layer.{layer}.{name}"
                for name in (
                    *(f"attention.self.{name}" for name in ("query", "key", "value")),
                    *("attention.output.dense", "attention.output.LayerNorm"),
                    *("intermediate.dense", "output.dense", "output.LayerNorm"),
                )
            ]
        names |= {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
        further = set(self._weights) - names - NO_WEIGHTS - {"pooler.dense.weight", "pooler.dense.bias"}
        return names <= set(self._weights) and not further


def _later_modules(modules: Sequence[tuple[str, Path]]) -> list[LaterModule]:
    later_modules: list[LaterModule] = []
    for name, folder in modules:
        config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
        if name == "Pooling":
            if not _is_mean(config):
                raise UnusualError
            later_modules.append("mean")
        elif name == "Normalize":
            later_modules.append("normalize")
        else:
            later_modules.append(_dense(folder, config))
    return later_modules


def _dense(folder: Path, config: Mapping[str, Any]) -> Dense:
    from safetensors.numpy import load_file

    file = folder / "model.safetensors"
    if config.get("activation_function") not in _IDENTITY or not file.is_file():
        raise UnusualError
    weights = load_file(file)
    return Dense(weights["linear.weight"], weights.get("linear.bias"))


def _is_mean(config: Mapping[str, Any]) -> bool:
    """Whether a pooling takes the mean of all tokens, as any release of the library notes it."""
    if "pooling_mode" in config:
        return bool(config["pooling_mode"] == "mean")
    modes = {key for key, value in config.items() if key.startswith("pooling_mode_") and value}
    return modes == {"pooling_mode_mean_tokens"}
