"""The graph of a student of the usual kind, written for OpenVINO operation by operation.

A graph that is converted from torch computes the same and is an eighth slower: its matrix products of attention come
with broadcasts, and OpenVINO makes one kernel of attention that short texts gain nothing from. Every batch holds texts
of one length, so that nothing is masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.int8_grid import ScaledInput
from keydistill.encoders.runtime.bert import BertWeights, Dense, UnusualError, UsualBert

if TYPE_CHECKING:
    from openvino import Model


def bert_graph(files: UsualBert, *, int8: bool = False) -> Model | None:
    """The student from tokens, shape (n, length), to vectors, shape (n, full dimension).

    Args:
        files: The student.
        int8: Whether the weights of linear layers are those of `keydistill.encoders.int8_grid`. What they are
            multiplied with is rounded to 8 bits by OpenVINO, token by token, if it is compiled for that.

    Returns:
        None for a student that is not quite of the usual kind, or whose weights are not on the grid.

    Raises:
        OSError, SafetensorError, StudentError: A file cannot be read.
    """
    try:
        return _Graph(BertWeights(files, int8=int8), int8=int8).model()
    except UnusualError:
        return None


class _Graph:
    def __init__(self, weights: BertWeights, *, int8: bool) -> None:
        import openvino.opset13 as ops

        self._ops: Any = ops
        self._weights = weights
        self._int8 = int8

    def model(self) -> Model:
        import openvino as ov

        tokens = self._ops.parameter([-1, -1], np.int64, name="input_ids")
        states = self._embeddings(tokens)
        for layer in range(self._weights.layers):
            states = self._attention(states, layer)
            states = self._feed_forward(states, layer)
        return ov.Model([self._later_modules(states)], [tokens], "student")

    def _embeddings(self, tokens: Any) -> Any:
        ops = self._ops
        length = ops.gather(ops.shape_of(tokens), _integers(ops, 1), ops.constant(np.int64(0)))
        words = ops.gather(
            _floats(ops, self._weights["embeddings.word_embeddings.weight"]),
            ops.convert(tokens, "i32"),
            ops.constant(np.int32(0)),
        )
        places = _floats(ops, self._weights.places)
        first = ops.slice(places, _integers(ops, 0), length, _integers(ops, 1), _integers(ops, 0))
        return self._norm(ops.add(words, first), "embeddings.LayerNorm")

    def _attention(self, states: Any, layer: int) -> Any:
        ops, name = self._ops, f"encoder.layer.{layer}.attention"
        width, heads = self._weights.width, self._weights.heads
        by_head = _integers(ops, 0, 0, heads, width // heads)
        swap = _integers(ops, 0, 2, 1, 3)
        scaled, scales = self._scaled(states, layer, "attention")
        queries, keys, values = (
            ops.transpose(ops.reshape(self._linear(scaled, f"{name}.self.{part}", scales), by_head, True), swap)
            for part in ("query", "key", "value")
        )
        root = ops.constant(np.float32((width // heads) ** -0.5))
        shares = ops.softmax(ops.multiply(ops.matmul(queries, keys, False, True), root), -1)
        mixed = ops.transpose(ops.matmul(shares, values, False, False), swap)
        out = self._linear(ops.reshape(mixed, _integers(ops, 0, 0, width), True), f"{name}.output.dense")
        return self._norm(ops.add(out, states), f"{name}.output.LayerNorm")

    def _feed_forward(self, states: Any, layer: int) -> Any:
        ops, name = self._ops, f"encoder.layer.{layer}"
        scaled, scales = self._scaled(states, layer, "intermediate")
        inner = ops.gelu(self._linear(scaled, f"{name}.intermediate.dense", scales), "erf")
        scaled, scales = self._scaled(inner, layer, "output")
        out = self._linear(scaled, f"{name}.output.dense", scales)
        return self._norm(ops.add(out, states), f"{name}.output.LayerNorm")

    def _scaled(self, states: Any, layer: int, scaled: ScaledInput) -> tuple[Any, NDArray[np.float32] | None]:
        """The input of a linear layer, and the scales that its weights are to be multiplied by for that."""
        if not self._int8:
            return states, None
        scales = self._weights.scales(layer, scaled)
        return self._ops.multiply(states, _floats(self._ops, np.float32(1) / scales)), scales

    def _linear(self, states: Any, name: str, scales: NDArray[np.float32] | None = None) -> Any:
        ops = self._ops
        if self._int8:
            levels, steps = self._weights.levels(name, scales)
            matrix = ops.multiply(ops.convert(ops.constant(levels), "f32"), _floats(ops, steps))
        else:
            matrix = _floats(ops, self._weights[f"{name}.weight"])
        return ops.add(ops.matmul(states, matrix, False, True), _floats(ops, self._weights[f"{name}.bias"]))

    def _norm(self, states: Any, name: str) -> Any:
        ops = self._ops
        centred = ops.mvn(states, _integers(ops, -1), True, self._weights.epsilon, "inside_sqrt")
        weights, bias = (_floats(ops, self._weights[f"{name}.{kind}"]) for kind in ("weight", "bias"))
        return ops.add(ops.multiply(centred, weights), bias)

    def _later_modules(self, states: Any) -> Any:
        ops = self._ops
        for module in self._weights.later_modules:
            if module == "mean":
                states = ops.reduce_mean(states, _integers(ops, 1), False)
            elif isinstance(module, Dense):
                states = ops.matmul(states, _floats(ops, module.weights), False, True)
                if module.bias is not None:
                    states = ops.add(states, _floats(ops, module.bias))
            else:
                states = ops.normalize_l2(states, _integers(ops, 1), 1e-12, "max")
        return states


def _floats(ops: Any, values: NDArray[np.float32]) -> Any:
    return ops.constant(np.ascontiguousarray(values, dtype=np.float32))


def _integers(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))
