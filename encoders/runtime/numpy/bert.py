"""A BERT and what stands behind it in numpy, fp32; matrix products are those of numpy's BLAS."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.runtime.bert import BertWeights, Dense, Floats

# Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26, for x / sqrt(2), halved: the coefficients of t to
# t^5, where t = 1 / (1 + _T * |x|). The tail of the normal distribution is off by 7.5e-8 at the most.
_TAIL = (0.127414796, -0.142248368, 0.7107068705, -0.7265760135, 0.5307027145)
_T = 0.3275911 * 2**-0.5
# Rows of a feed-forward that go through GELU at a time: its dozen passes over them stay in the cache.
_GELU_ROWS = 64


class _Linear(NamedTuple):
    """Weights, shape (inputs, outputs), and bias, shape (outputs,)."""

    weights: Floats
    bias: Floats

    def __call__(self, states: Floats) -> Floats:
        """The outputs, shape (rows, outputs)."""
        outputs = states @ self.weights
        outputs += self.bias
        return outputs


class _Norm(NamedTuple):
    """Layer normalisation: weights and bias, shape (width,), and what is added to the variance."""

    weights: Floats
    bias: Floats
    epsilon: float

    def __call__(self, states: Floats) -> Floats:
        """The rows normalised, in place."""
        states -= states.mean(axis=-1, keepdims=True)
        variance = np.einsum("ij,ij->i", states, states) / np.float32(states.shape[-1])
        states *= (1 / np.sqrt(variance + np.float32(self.epsilon)))[:, None]
        states *= self.weights
        states += self.bias
        return states


class _Layer(NamedTuple):
    """One layer: attention and feed-forward, each with what normalises its sum with the input."""

    qkv: _Linear
    mixed: _Linear
    first: _Norm
    inner: _Linear
    outer: _Linear
    second: _Norm


class NumpyBert:
    """A student of the usual kind; threads share one."""

    def __init__(self, weights: BertWeights) -> None:
        self._heads = weights.heads
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = weights.places
        self._norm = _norm(weights, "embeddings.LayerNorm")
        self._layers = [_layer(weights, number) for number in range(weights.layers)]
        self._later_modules = weights.later_modules

    def vectors(self, ids: NDArray[np.int64]) -> Floats:
        """Sentence vectors of texts of one length, shape (n, dimension).

        Args:
            ids: Their tokens, shape (n, length).
        """
        n, length = ids.shape
        states: Floats = self._words[ids] + self._places[:length]
        states = self._norm(states.reshape(n * length, -1))
        for layer in self._layers:
            attended = layer.mixed(self._attention(layer.qkv(states), n, length))
            attended += states
            states = layer.first(attended)
            outputs = layer.outer(gelu(layer.inner(states)))
            outputs += states
            states = layer.second(outputs)
        return self._behind(states.reshape(n, length, -1))

    def _attention(self, qkv: Floats, n: int, length: int) -> Floats:
        """The vectors that attention gives the tokens, shape (n * length, width)."""
        by_head = qkv.reshape(n, length, 3, self._heads, -1).transpose(2, 0, 3, 1, 4)
        queries, keys, values = np.ascontiguousarray(by_head)
        # Batches hold texts of one length: nothing is masked.
        shares = (queries * np.float32(queries.shape[-1] ** -0.5)) @ keys.swapaxes(-1, -2)
        shares -= shares.max(axis=-1, keepdims=True)
        np.exp(shares, out=shares)
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed: Floats = (shares @ values).swapaxes(1, 2).reshape(n * length, -1)
        return mixed

    def _behind(self, states: Floats) -> Floats:
        for module in self._later_modules:
            if module == "mean":
                states = states.mean(axis=1)
            elif isinstance(module, Dense):
                states = states @ module.weights.T
                if module.bias is not None:
                    states += module.bias
            else:
                states = states / np.linalg.norm(states, axis=1, keepdims=True).clip(min=1e-12)
        return states


def gelu(states: Floats) -> Floats:
    """GELU, x times the share of the standard normal distribution below x (arXiv 1606.08415), in place.

    Args:
        states: Shape (rows, columns).

    >>> gelu(np.array([[-1.0, 0.0, 2.0]], dtype=np.float32)).round(5).tolist()[0]
    [-0.15865999460220337, 0.0, 1.9544999599456787]
    """
    for start in range(0, len(states), _GELU_ROWS):
        rows = states[start : start + _GELU_ROWS]
        sizes = np.abs(rows)
        t = 1 / (1 + np.float32(_T) * sizes)
        # The tail beyond |x|, times |x|: what x > 0 is too small by, and what is left of x < 0.
        tail = t * np.float32(_TAIL[-1])
        for coefficient in _TAIL[-2::-1]:
            tail += np.float32(coefficient)
            tail *= t
        tail *= sizes
        sizes *= sizes
        sizes *= np.float32(-0.5)
        tail *= np.exp(sizes, out=sizes)
        np.maximum(rows, 0, out=rows)
        rows -= tail
    return states


def _layer(weights: BertWeights, number: int) -> _Layer:
    name = f"encoder.layer.{number}"
    own = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    return _Layer(
        qkv=_Linear(
            np.concatenate([weights[f"{part}.weight"] for part in own]).T,
            np.concatenate([weights[f"{part}.bias"] for part in own]),
        ),
        mixed=_linear(weights, f"{name}.attention.output.dense"),
        first=_norm(weights, f"{name}.attention.output.LayerNorm"),
        inner=_linear(weights, f"{name}.intermediate.dense"),
        outer=_linear(weights, f"{name}.output.dense"),
        second=_norm(weights, f"{name}.output.LayerNorm"),
    )


def _linear(weights: BertWeights, name: str) -> _Linear:
    return _Linear(weights[f"{name}.weight"].T, weights[f"{name}.bias"])


def _norm(weights: BertWeights, name: str) -> _Norm:
    return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], weights.epsilon)
