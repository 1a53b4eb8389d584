"""What a student learns from: tables of pairs, one per task."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["clicks", "search_relevance", "judgments", "assistant"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """n item-keyphrase pairs, by number.

    Attributes:
        items: Number of the item of each pair, shape (n,).
        keyphrases: Number of the keyphrase of each pair, shape (n,).
        scores: What is known of each pair, shape (n,); empty where the pairs are positives and nothing more is known.
    """

    items: NDArray[np.int64]
    keyphrases: NDArray[np.int64]
    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.items)

    def of_items(self, kept: NDArray[np.bool_]) -> "Pairs":
        """The pairs whose item is kept; `kept` has a value per item."""
        chosen = kept[self.items]
        return Pairs(
            self.items[chosen], self.keyphrases[chosen], self.scores[chosen] if len(self.scores) else self.scores
        )


@dataclass(frozen=True, slots=True)
class StudentData:
    """Everything that a training needs; a task without pairs is left out.

    Attributes:
        titles: Of each item.
        categories: Of each item, a path or None.
        texts: Of each keyphrase.
        clicks: Positives: clicked pairs, corrected for position (`distillation.signals`).
        search_relevance: Pairs with the search engine's score.
        judgments: Pairs with the judge's probability or a grade, taught directly.
        assistant: Pairs with the assistant's score.
        held_out: Pairs with the assistant's or judge's score, of other items: they decide when training stops.
        relevant: Further pairs that are no negatives: the assistant or the judge calls them relevant.
    """

    titles: Sequence[str]
    categories: Sequence[str | None]
    texts: Sequence[str]
    clicks: Pairs | None = None
    search_relevance: Pairs | None = None
    judgments: Pairs | None = None
    assistant: Pairs | None = None
    held_out: Pairs | None = None
    relevant: Pairs | None = None

    def tasks(self) -> "dict[Task, Pairs | None]":
        """Task to its pairs."""
        return {
            "clicks": self.clicks,
            "search_relevance": self.search_relevance,
            "judgments": self.judgments,
            "assistant": self.assistant,
        }

    def known(self) -> NDArray[np.int64]:
        """Pairs that are no negatives: clicked ones and relevant ones; shape (n, 2)."""
        parts = [pairs for pairs in (self.clicks, self.relevant) if pairs is not None]
        if not parts:
            return np.empty((0, 2), dtype=np.int64)
        return np.concatenate([np.stack([pairs.items, pairs.keyphrases], axis=1) for pairs in parts])
