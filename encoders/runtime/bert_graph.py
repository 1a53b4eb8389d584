"""The graph of a student of the usual kind, written for OpenVINO operation by operation.

A graph that is converted from torch computes the same and is an eighth slower: its matrix products of attention come
with broadcasts, and OpenVINO makes one kernel of attention that short texts gain nothing from. Every batch holds texts
of one length, so that nothing is masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.int8_grid import ScaledInput, grid_levels, load_scales, scale_name
from encoders.runtime.usual_bert import NO_WEIGHTS, UsualBert
from encoders.student_layout import read_json

if TYPE_CHECKING:
    from openvino import Model

_Weights = Mapping[str, NDArray[np.float32]]
_ACTIVATIONS = ("torch.nn.modules.linear.Identity", None)


def bert_graph(files: UsualBert, *, int8: bool = False) -> Model | None:
    """The student from tokens, shape (n, length), to vectors, shape (n, full dimension).

    Args:
        files: The student.
        int8: Whether the weights of linear layers are those of `encoders.int8_grid`. What they are multiplied with is
            rounded to 8 bits by OpenVINO, token by token, if it is compiled for that.

    Returns:
        None for a student that is not quite of the usual kind, or whose weights are not on the grid.

    Raises:
        OSError, SafetensorError, StudentError: A file cannot be read.
    """
    from safetensors.numpy import load_file

    scales = load_scales(files.transformer) if int8 else None
    if int8 and scales is None:
        return None
    weights = load_file(files.weights)
    if not _is_whole(files, weights):
        return None
    try:
        return _Graph(files, weights, scales).model()
    except _UnusualError:
        return None


class _UnusualError(Exception):
    """The graph cannot be written for this student."""


def _is_whole(files: UsualBert, weights: _Weights) -> bool:
    """Whether the weights are those of such a BERT, and all of them."""
    layers = int(files.config["num_hidden_layers"])
    names = {f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
    modules = ["embeddings.LayerNorm"]
    for layer in range(layers):
        modules += [
            f"encoder.layer.{layer}.{name}"
            for name in (
                *(f"attention.self.{name}" for name in ("query", "key", "value")),
                *("attention.output.dense", "attention.output.LayerNorm"),
                *("intermediate.dense", "output.dense", "output.LayerNorm"),
            )
        ]
    names |= {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    further = set(weights) - names - NO_WEIGHTS - {"pooler.dense.weight", "pooler.dense.bias"}
    return names <= set(weights) and not further and files.config.get("hidden_act", "gelu") == "gelu"


class _Graph:
    def __init__(self, files: UsualBert, weights: _Weights, scales: _Weights | None) -> None:
        import openvino.opset13 as ops

        self._ops: Any = ops
        self._files = files
        self._weights = weights
        self._scales = scales
        self._layers = int(files.config["num_hidden_layers"])
        self._heads = int(files.config["num_attention_heads"])
        self._epsilon = float(files.config.get("layer_norm_eps", 1e-12))

    def model(self) -> Model:
        import openvino as ov

        tokens = self._ops.parameter([-1, -1], np.int64, name="input_ids")
        states = self._embeddings(tokens)
        for layer in range(self._layers):
            states = self._attention(states, layer)
            states = self._feed_forward(states, layer)
        return ov.Model([self._following(states)], [tokens], "student")

    def _embeddings(self, tokens: Any) -> Any:
        ops = self._ops
        kinds = self._weights["embeddings.token_type_embeddings.weight"]
        places = self._weights["embeddings.position_embeddings.weight"] + kinds[0]
        length = ops.gather(ops.shape_of(tokens), _whole(ops, 1), ops.constant(np.int64(0)))
        words = ops.gather(
            _floats(ops, self._weights["embeddings.word_embeddings.weight"]),
            ops.convert(tokens, "i32"),
            ops.constant(np.int32(0)),
        )
        first = ops.slice(_floats(ops, places), _whole(ops, 0), length, _whole(ops, 1), _whole(ops, 0))
        return self._norm(ops.add(words, first), "embeddings.LayerNorm")

    def _attention(self, states: Any, layer: int) -> Any:
        ops, name = self._ops, f"encoder.layer.{layer}.attention"
        width = int(self._files.config["hidden_size"])
        by_head = _whole(ops, 0, 0, self._heads, width // self._heads)
        swap = _whole(ops, 0, 2, 1, 3)
        scaled, scales = self._scaled(states, layer, "attention")
        queries, keys, values = (
            ops.transpose(ops.reshape(self._linear(scaled, f"{name}.self.{part}", scales), by_head, True), swap)
            for part in ("query", "key", "value")
        )
        root = ops.constant(np.float32((width // self._heads) ** -0.5))
        shares = ops.softmax(ops.multiply(ops.matmul(queries, keys, False, True), root), -1)
        mixed = ops.transpose(ops.matmul(shares, values, False, False), swap)
        out = self._linear(ops.reshape(mixed, _whole(ops, 0, 0, width), True), f"{name}.output.dense")
        return self._norm(ops.add(out, states), f"{name}.output.LayerNorm")

    def _feed_forward(self, states: Any, layer: int) -> Any:
        ops, name = self._ops, f"encoder.layer.{layer}"
        scaled, scales = self._scaled(states, layer, "intermediate")
        inner = ops.gelu(self._linear(scaled, f"{name}.intermediate.dense", scales), "erf")
        scaled, scales = self._scaled(inner, layer, "output")
        out = self._linear(scaled, f"{name}.output.dense", scales)
        return self._norm(ops.add(out, states), f"{name}.output.LayerNorm")

    def _scaled(self, states: Any, layer: int, scaled: ScaledInput) -> tuple[Any, NDArray[np.float32] | None]:
        """What a linear layer gets, and by what its weights are to be multiplied for that."""
        if self._scales is None:
            return states, None
        scales = self._scales.get(scale_name(layer, scaled))
        width = self._files.config["intermediate_size" if scaled == "output" else "hidden_size"]
        if scales is None or scales.shape != (width,):
            raise _UnusualError
        return self._ops.multiply(states, _floats(self._ops, np.float32(1) / scales)), scales

    def _linear(self, states: Any, name: str, scales: NDArray[np.float32] | None = None) -> Any:
        ops = self._ops
        weights, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        if self._scales is None:
            matrix = _floats(ops, weights)
        else:
            found = grid_levels(weights, np.ones(weights.shape[1], dtype=np.float32) if scales is None else scales)
            if found is None:
                raise _UnusualError
            levels, steps = found
            matrix = ops.multiply(ops.convert(ops.constant(levels), "f32"), _floats(ops, steps))
        return ops.add(ops.matmul(states, matrix, False, True), _floats(ops, bias))

    def _norm(self, states: Any, name: str) -> Any:
        ops = self._ops
        centred = ops.mvn(states, _whole(ops, -1), True, self._epsilon, "inside_sqrt")
        weights, bias = (_floats(ops, self._weights[f"{name}.{kind}"]) for kind in ("weight", "bias"))
        return ops.add(ops.multiply(centred, weights), bias)

    def _following(self, states: Any) -> Any:
        ops = self._ops
        # The pooling comes first: without it there is no vector per text.
        if not self._files.following or self._files.following[0][0] != "Pooling":
            raise _UnusualError
        for name, folder in self._files.following:
            config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
            if name == "Pooling":
                if states.get_output_partial_shape(0).rank.get_length() != 3 or not _is_mean(config):
                    raise _UnusualError
                states = ops.reduce_mean(states, _whole(ops, 1), False)
            elif name == "Normalize":
                states = ops.normalize_l2(states, _whole(ops, 1), 1e-12, "max")
            else:
                states = self._dense(states, folder, config)
        return states

    def _dense(self, states: Any, folder: Any, config: Mapping[str, Any]) -> Any:
        from safetensors.numpy import load_file

        ops, file = self._ops, folder / "model.safetensors"
        if config.get("activation_function") not in _ACTIVATIONS or not file.is_file():
            raise _UnusualError
        weights = load_file(file)
        out = ops.matmul(states, _floats(ops, weights["linear.weight"]), False, True)
        return ops.add(out, _floats(ops, weights["linear.bias"])) if "linear.bias" in weights else out


def _is_mean(config: Mapping[str, Any]) -> bool:
    """Whether a pooling takes the mean of all tokens, as any release of the library notes it."""
    if "pooling_mode" in config:
        return bool(config["pooling_mode"] == "mean")
    modes = {key for key, value in config.items() if key.startswith("pooling_mode_") and value}
    return modes == {"pooling_mode_mean_tokens"}


def _floats(ops: Any, values: NDArray[np.float32]) -> Any:
    return ops.constant(np.ascontiguousarray(values, dtype=np.float32))


def _whole(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))
