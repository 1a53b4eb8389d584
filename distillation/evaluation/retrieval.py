"""The lists that are evaluated: the k nearest keyphrases of every item, by exact search."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.evaluation.corpus import Corpus
from keydistill.distillation.evaluation.judges import RelevanceJudge
from keydistill.encoders import Student, Vectors, nearest
from keydistill.progress import NO_PROGRESS, Progress


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of all items (n, d) and all texts (t, d), normalised."""

    items: Vectors
    texts: Vectors

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self.items.shape[1])

    def cut(self, dimension: int) -> "Embedded":
        """The first dimensions of all vectors, normalised again (Matryoshka, arXiv 2205.13147)."""
        if dimension == self.dimension:
            return self
        return Embedded(_cut(self.items, dimension), _cut(self.texts, dimension))

    def scores(self, items: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosine similarity of pairs, shape (n,)."""
        # In slices: the vectors of all pairs together may not fit.
        step = 65_536
        parts = [
            np.einsum("nd,nd->n", self.items[items[start : start + step]], self.texts[texts[start : start + step]])
            for start in range(0, len(items), step)
        ]
        return np.concatenate([np.empty(0, dtype=np.float32), *parts])


@dataclass(frozen=True, slots=True)
class Lists:
    """The keyphrases that every item gets, best first.

    Attributes:
        rows: Inventory rows, shape (n, k); -1 where an item has fewer.
        texts: Numbers of their texts, shape (n, k); -1 where an item has fewer.
        scores: Cosine similarities, shape (n, k); -inf where an item has fewer.
    """

    rows: NDArray[np.int64]
    texts: NDArray[np.int64]
    scores: NDArray[np.float32]

    def first(self, k: int) -> "Lists":
        """The first k places of every list."""
        return Lists(self.rows[:, :k], self.texts[:, :k], self.scores[:, :k])


def embed(student: Student, corpus: Corpus, progress: Progress = NO_PROGRESS) -> Embedded:
    """Vectors of all items and texts of a corpus."""
    return Embedded(
        embed_items_of(student, corpus, progress),
        student.embed_keyphrases(corpus.texts, progress),
    )


def embed_items_of(student: Student, corpus: Corpus, progress: Progress = NO_PROGRESS) -> Vectors:
    """Vectors of all items of a corpus, with the free fields that the student's template has."""
    fields = corpus.item_fields(student.item_text.free_fields)
    return student.embed_items(corpus.titles, corpus.item_categories, progress, fields)


def retrieve(embedded: Embedded, corpus: Corpus, k: int) -> Lists:
    """The k keyphrases nearest to each item, of those that it may get."""
    everything = np.array_equal(corpus.text_of, np.arange(len(embedded.texts)))
    inventory = embedded.texts if everything else embedded.texts[corpus.text_of]
    if corpus.is_filtered:
        rows, scores = nearest(embedded.items, inventory, k, corpus.allowed)
    else:
        rows, scores = nearest(embedded.items, inventory, k)
    return Lists(rows, np.where(rows >= 0, corpus.text_of[rows], -1), scores)


def reranked(lists: Lists, corpus: Corpus, judge: RelevanceJudge, progress: Progress = NO_PROGRESS) -> Lists:
    """The lists in the order of the judge's probabilities, highest first; `scores` are these probabilities."""
    items, places = np.nonzero(lists.texts >= 0)
    scores = np.full(lists.texts.shape, -np.inf, dtype=np.float32)
    scores[items, places] = judge.probabilities(corpus, items, lists.texts[items, places], progress)
    # Stable: of two that it finds equally probable, the student's order holds.
    order = np.argsort(-scores, axis=1, kind="stable")
    return Lists(
        np.take_along_axis(lists.rows, order, 1),
        np.take_along_axis(lists.texts, order, 1),
        np.take_along_axis(scores, order, 1),
    )


def _cut(vectors: Vectors, dimension: int) -> Vectors:
    cut = vectors[:, :dimension]
    return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True).clip(min=1e-12), dtype=np.float32)
