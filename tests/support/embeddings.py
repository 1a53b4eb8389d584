"""Texts to embed, and what holds of the vectors of every runtime."""

import numpy as np

from encoders import Student, Vectors

_WORDS = ["red", "blue", "shoes", "case", "phone", "cable", "boots", "size", "leather", "vintage", "usb", "charger"]


def many_texts(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of two to nine words."""
    dice = np.random.default_rng(seed)
    return [" ".join(dice.choice(_WORDS, size=dice.integers(1, 9))) + f" {number}" for number in range(count)]


def distances(a: Vectors, b: Vectors) -> np.ndarray:
    """Cosine distance between rows."""
    return 1 - (a.astype(np.float64) * b).sum(axis=1)


def assert_one_vector_per_text(student: Student) -> None:
    """Whatever stands beside a text, its vector is the same to the bit."""
    texts = many_texts(300)
    together = student.embed_keyphrases(texts)
    for size in (1, 7, 64):
        parts = [student.embed_keyphrases(texts[at : at + size]) for at in range(0, len(texts), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
