"""Texts to embed, and what holds of the vectors of every runtime."""

import threading
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import Student, StudentFiles, Vectors
from keydistill.encoders.runtime import Runtime
from keydistill.encoders.tokens import token_batches

_WORDS = ["red", "blue", "shoes", "case", "phone", "cable", "boots", "size", "leather", "vintage", "usb", "charger"]


def many_texts(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of two to nine words."""
    dice = np.random.default_rng(seed)
    return [" ".join(dice.choice(_WORDS, size=dice.integers(1, 9))) + f" {number}" for number in range(count)]


def distances(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Cosine distance between rows."""
    similarities: NDArray[np.float64] = (a.astype(np.float64) * b).sum(axis=1)
    return 1 - similarities


def assert_one_vector_per_text(student: Student, tolerance: float = 0.0) -> None:
    """Whatever stands beside a text, its vector is the same, to the bit where nothing else is said."""
    texts = many_texts(300)
    together = student.embed_keyphrases(texts)
    for size in (1, 7, 64):
        parts = [student.embed_keyphrases(texts[at : at + size]) for at in range(0, len(texts), size)]
        np.testing.assert_allclose(np.concatenate(parts), together, rtol=0, atol=tolerance)


def assert_threads_share(student: Student) -> None:
    """Threads that embed with one student at once get what each would get alone."""
    texts = many_texts(200)
    expected = student.embed_keyphrases(texts)
    found = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: student.embed_keyphrases(texts[at:])}))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in range(8):
        np.testing.assert_array_equal(found[at], expected[at:])


def assert_receivers_may_stop(runtime: Runtime, files: StudentFiles) -> None:
    """What a receiver left is not mixed into what the next one gets."""
    batches = list(token_batches(many_texts(50), files.tokens(), 32))
    whole = [vectors for _, vectors in runtime.run(batches)]
    stopped = runtime.run(batches)
    next(stopped)
    assert isinstance(stopped, Generator)
    stopped.close()
    for expected, (_, found) in zip(whole, runtime.run(batches), strict=True):
        np.testing.assert_array_equal(found, expected)
