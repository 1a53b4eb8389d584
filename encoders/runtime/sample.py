"""Texts that a runtime is compared with the reference on: the same for every student, of many lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.runtime.protocol import Runtime
from keydistill.encoders.text_tokens import TextTokens
from keydistill.encoders.tokens import token_batches

_WHAT = (
    "running shoes",
    "iphone 13 case",
    "ps5",
    "usb c cable 6 ft",
    "waterproof hiking boots size 10",
    "cordless drill 20v battery",
    "queen bed frame",
    "2015 civic tail light",
    "led strip lights",
    "vinyl record player",
    "14k gold necklace",
    "lego star wars",
)
_HOW = ("", "mens", "vintage", "black", "used", "replacement parts for", "the best cheap", "brand new sealed in box")
_MORE = ("", "with free shipping", "- genuine OEM quality, tested and working, ships the same day from the US, 2 pack")

SAMPLE: tuple[str, ...] = tuple(
    " ".join(filter(None, (how, what, more))) for what in _WHAT for how in _HOW for more in _MORE
)


def sample_vectors(runtime: Runtime, tokens: TextTokens) -> NDArray[np.float32]:
    """The sample's vectors by a runtime, shape (texts, full dimension)."""
    vector_at: dict[int, NDArray[np.float32]] = {}
    for places, vectors in runtime.run(token_batches(SAMPLE, tokens, runtime.batch_tokens)):
        vector_at.update(zip(places.tolist(), vectors, strict=True))
    return np.stack([vector_at[place] for place in range(len(SAMPLE))])


def largest_distance(expected: NDArray[np.float32], vectors: NDArray[np.float32]) -> float:
    """The largest cosine distance between rows; not a number, which no comparison allows, where one is not finite."""
    products = (expected * vectors).sum(axis=1, dtype=np.float64)
    lengths = np.linalg.norm(expected.astype(np.float64), axis=1) * np.linalg.norm(vectors.astype(np.float64), axis=1)
    # Not Python's `max`, which takes 0 for what is not a number.
    return float(np.maximum(0.0, (1 - products / lengths).max()))
