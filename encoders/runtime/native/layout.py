"""A student's weights as `int8_bert.c` reads them, in one file that processes on a machine share.

It is a numpy file of one structured element, mapped into memory: nothing is copied, and all processes have the same
pages. Sizes are multiples of 64 bytes, so that every array begins where a cache line does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.int8_grid import ScaledInput
from keydistill.encoders.runtime.bert import BertWeights, Dense, Floats, UnusualError

# Outputs whose weights lie together (PANEL of int8_bert.h), and inputs of the second product of a feed-forward that are
# rounded with one step.
PANEL = 64
# Inputs of the other products with one step: with 64 vectors are off by a fifth less, in a twentieth more time.
GROUP = 128
# Numbers per attention head that int8_bert.c is compiled for.
_HEADS = (32, 64)
_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
# Most bytes of a numpy file's header; the structure of many layers takes some thousand bytes.
_MOST_HEADER = 1_000_000

# One structured element: shape (1,).
Packed = NDArray[np.void]


def has_its_sizes(config: Mapping[str, Any]) -> bool:
    """Whether int8_bert.c computes a BERT of such a configuration."""
    width, inner, heads, layers = (int(config[name]) for name in _SIZES)
    return layers > 0 and width % GROUP == 0 and inner % PANEL == 0 and width % heads == 0 and width // heads in _HEADS


def pack(weights: BertWeights) -> Packed:
    """Weights, of sizes that int8_bert.c computes, in its layout.

    Raises:
        UnusualError: They are not on the grid of int8, or not finite, which the kernels would not pass on, or something
            else than linear layers of some 64 outputs stands behind the pooling.
    """
    denses = _denses(weights)
    if not weights.are_finite():
        raise UnusualError
    packed = np.zeros(1, dtype=_structure(weights, denses))
    element = packed[0]
    element["words"] = weights["embeddings.word_embeddings.weight"]
    element["places"] = weights.places
    element["weight"], element["bias"] = _norm(weights, "embeddings.LayerNorm")
    for number, layer in enumerate(element["layers"]):
        _pack_layer(layer, weights, number)
    for number, dense in enumerate(denses):
        element[f"dense{number}"]["weights"] = dense.weights.T
        element[f"dense{number}"]["bias"] = 0 if dense.bias is None else dense.bias
    element["heads"], element["epsilon"] = weights.heads, weights.epsilon
    element["normalizes"] = weights.later_modules[-1] == "normalize"
    return packed


def save(file: Path, packed: Packed) -> None:
    """Write weights to a file.

    Raises:
        OSError: It cannot be written.
    """
    np.save(file, packed)


def load(file: Path) -> Packed:
    """Map a file of weights into memory.

    Raises:
        OSError, ValueError: It cannot be read.
    """
    packed: Packed = np.lib.format.open_memmap(file, mode="r", max_header_size=_MOST_HEADER)
    return packed


def _denses(weights: BertWeights) -> list[Dense]:
    _, *behind = weights.later_modules
    if behind and behind[-1] == "normalize":
        behind.pop()
    denses = [module for module in behind if isinstance(module, Dense) and module.weights.shape[0] % PANEL == 0]
    if len(denses) < len(behind):
        raise UnusualError
    return denses


def _structure(weights: BertWeights, denses: list[Dense]) -> np.dtype[np.void]:
    width, inner = weights.width, weights.inner
    layer = [
        ("qkv", _linear(width, 3 * width, GROUP)),
        ("mixed", _linear(width, width, GROUP)),
        ("inner", _linear(width, inner, GROUP)),
        ("outer", _linear(inner, width, PANEL)),
        ("qkv_scales", "f4", (width,)),
        ("inner_scales", "f4", (width,)),
        ("outer_scales", "f4", (inner,)),
        *((name, "f4", (width,)) for name in ("first_weight", "first_bias", "second_weight", "second_bias")),
    ]
    return np.dtype(
        [
            ("words", "f4", weights["embeddings.word_embeddings.weight"].shape),
            ("places", "f4", weights.places.shape),
            ("weight", "f4", (width,)),
            ("bias", "f4", (width,)),
            ("layers", layer, (weights.layers,)),
            *(
                (f"dense{number}", [("weights", "f4", dense.weights.T.shape), ("bias", "f4", dense.weights.shape[:1])])
                for number, dense in enumerate(denses)
            ),
            ("heads", "i8"),
            ("epsilon", "f4"),
            ("normalizes", "?"),
        ]
    )


def _linear(inputs: int, outputs: int, group: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        ("levels", "i1", (outputs // PANEL, inputs // 4, PANEL, 4)),
        ("offsets", "i4", (inputs // group, outputs)),
        ("steps", "f4", (outputs,)),
        ("bias", "f4", (outputs,)),
    ]


def _pack_layer(layer: Any, weights: BertWeights, number: int) -> None:
    name = f"encoder.layer.{number}"
    scaled: dict[str, ScaledInput] = {"qkv": "attention", "inner": "intermediate", "outer": "output"}
    scales = {part: weights.scales(number, scaled[part]) for part in scaled}
    for part, input_scales in scales.items():
        layer[f"{part}_scales"] = np.float32(1) / input_scales
    queries_keys_values = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    _pack_linear(layer["qkv"], weights, queries_keys_values, scales["qkv"])
    _pack_linear(layer["mixed"], weights, [f"{name}.attention.output.dense"], None)
    _pack_linear(layer["inner"], weights, [f"{name}.intermediate.dense"], scales["inner"])
    _pack_linear(layer["outer"], weights, [f"{name}.output.dense"], scales["outer"])
    layer["first_weight"], layer["first_bias"] = _norm(weights, f"{name}.attention.output.LayerNorm")
    layer["second_weight"], layer["second_bias"] = _norm(weights, f"{name}.output.LayerNorm")


def _pack_linear(linear: Any, weights: BertWeights, names: list[str], scales: Floats | None) -> None:
    """Fill in a linear layer; of several, a panel of each in turn."""

    def in_turn(parts: list[NDArray[Any]]) -> NDArray[Any]:
        # (outputs, ...) of each to (panels, parts, PANEL, ...) of all.
        by_panel = [part.reshape(-1, PANEL, *part.shape[1:]) for part in parts]
        return np.stack(by_panel, axis=1).reshape(-1, *parts[0].shape[1:])

    levels_and_steps = [weights.levels(name, scales) for name in names]
    levels = in_turn([levels for levels, _ in levels_and_steps])
    outputs, inputs = levels.shape
    linear["levels"] = levels.reshape(-1, PANEL, inputs // 4, 4).swapaxes(1, 2)
    groups = len(linear["offsets"])
    # Inputs are stored 128 too large.
    linear["offsets"] = -128 * levels.astype(np.int32).reshape(outputs, groups, -1).sum(axis=2).T
    linear["steps"] = in_turn([steps[:, 0] for _, steps in levels_and_steps])
    linear["bias"] = in_turn([weights[f"{name}.bias"] for name in names])


def _norm(weights: BertWeights, name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]
