"""The data that a student learns from: pairs, task by task."""

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import ItemFields

Task = Literal["clicks", "judged_yes", "search_relevance", "judgments", "assistant", "approved"]
# Tasks whose pairs are right, and nothing more is known of them.
POSITIVE_TASKS: tuple[Task, ...] = ("clicks", "judged_yes", "approved")


@dataclass(frozen=True, slots=True)
class Pairs:
    """n pairs of an item and a keyphrase, as numbers.

    Attributes:
        items: Number of the item of each pair, shape (n,).
        keyphrases: Number of the keyphrase of each pair, shape (n,).
        scores: Score, probability or grade of each pair, shape (n,); empty where the pairs are positives and nothing
            more is known.
    """

    items: NDArray[np.int64]
    keyphrases: NDArray[np.int64]
    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.items)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Pairs":
        """Some of the pairs, by place or by a flag per pair."""
        return Pairs(self.items[which], self.keyphrases[which], self.scores[which] if len(self.scores) else self.scores)

    def positives(self) -> "Pairs":
        """The same pairs without scores."""
        return Pairs(self.items, self.keyphrases)

    def listed_by_keyphrase(self) -> bool:
        """Whether the pairs are lists of items for a keyphrase, and not lists of keyphrases for an item."""
        return listed_by_keyphrase(self.items.tolist(), self.keyphrases.tolist())


def listed_by_keyphrase(items: Iterable[Hashable], keyphrases: Iterable[Hashable]) -> bool:
    """Whether pairs, given by their items and keyphrases, have longer lists by keyphrase than by item.

    >>> listed_by_keyphrase(["red shoe", "blue shoe"], ["shoe", "shoe"])
    True
    """
    return len(set(keyphrases)) < len(set(items))


@dataclass(frozen=True, slots=True)
class StudentData:
    """Everything that a training learns from; a task without pairs is None.

    Attributes:
        titles: Title of each item.
        categories: Category of each item, a path or None.
        texts: Text of each keyphrase.
        clicks: Positives: clicked pairs, corrected for position (`keydistill.distillation.signals`).
        judged_yes: Positives: pairs that were judged relevant.
        search_relevance: Pairs with the search engine's score.
        judgments: Pairs with the judge's probability or a grade, learned directly.
        assistant: Pairs with the assistant's score.
        approved: Positives that need no click: pairs that the assistant is sure of.
        held_out: Pairs of other items (or of other keyphrases, where these have lists of items) with the assistant's or
            judge's score: they decide when training stops.
        relevant: Further pairs that are no negatives: the assistant or the judge calls them relevant.
        rejected: Pairs that are near and wrong all the same, as the assistant says: hard negatives of the positives.
        fields: Free fields of each item; None where there are none.
    """

    titles: Sequence[str]
    categories: Sequence[str | None]
    texts: Sequence[str]
    clicks: Pairs | None = None
    judged_yes: Pairs | None = None
    search_relevance: Pairs | None = None
    judgments: Pairs | None = None
    assistant: Pairs | None = None
    approved: Pairs | None = None
    held_out: Pairs | None = None
    relevant: Pairs | None = None
    rejected: Pairs | None = None
    fields: Sequence[ItemFields] | None = None

    def tasks(self) -> "dict[Task, Pairs | None]":
        """The pairs of each task."""
        return {
            "clicks": self.clicks,
            "judged_yes": self.judged_yes,
            "search_relevance": self.search_relevance,
            "judgments": self.judgments,
            "assistant": self.assistant,
            "approved": self.approved,
        }

    def compares_items(self, pairs: Pairs | None) -> bool:
        """Whether pairs are lists of items for a keyphrase, and there is no click log that compares keyphrases."""
        return self.clicks is None and pairs is not None and pairs.listed_by_keyphrase()

    def digest(self) -> str:
        """SHA-256 (hex) over all texts and pairs."""
        texts: list[list[Any]] = [[*self.titles], [*self.categories], [*self.texts]]
        if self.fields is not None:
            texts.append([*self.fields])
        digest = hashlib.sha256(json.dumps(texts).encode())
        for name in (*self.tasks(), "held_out", "relevant", "rejected"):
            pairs: Pairs | None = getattr(self, name)
            digest.update(f"{name} {0 if pairs is None else len(pairs)}".encode())
            if pairs is not None:
                for column in (pairs.items, pairs.keyphrases, pairs.scores):
                    digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def clicks_alone(self) -> "StudentData":
        """The data with clicks as the only task, or where there are none what was judged relevant.

        The held-out pairs are the same, so that students of both compare.
        """
        clicks = self.clicks if self.clicks is not None and len(self.clicks) else None
        return StudentData(
            self.titles,
            self.categories,
            self.texts,
            clicks=clicks,
            judged_yes=self.judged_yes if clicks is None else None,
            held_out=self.held_out,
            fields=self.fields,
        )

    def hard_negatives(self, positives: Pairs, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rejected keyphrases for the item of each positive pair, shape (positives, count or 0).

        An item that has fewer gets those of other items too: they are negatives as good as any of the batch.
        """
        rejected = self.rejected
        if rejected is None or not len(rejected):
            return np.empty((len(positives), 0), dtype=np.int64)
        order = np.argsort(rejected.items, kind="stable")
        starts, ends = (
            np.searchsorted(rejected.items[order], positives.items, side=side) for side in ("left", "right")
        )
        draws = rng.random((len(positives), count))
        own_rows = order[
            np.minimum(starts[:, None] + (draws * (ends - starts)[:, None]).astype(np.int64), len(order) - 1)
        ]
        other_rows = rng.integers(0, len(rejected), draws.shape)
        return rejected.keyphrases[np.where((ends > starts)[:, None], own_rows, other_rows)]

    def known(self) -> NDArray[np.int64]:
        """Pairs that are no negatives: clicked, judged, approved and relevant ones; shape (n, 2)."""
        parts = [pairs for pairs in (self.clicks, self.judged_yes, self.approved, self.relevant) if pairs is not None]
        if not parts:
            return np.empty((0, 2), dtype=np.int64)
        return np.concatenate([np.stack([pairs.items, pairs.keyphrases], axis=1) for pairs in parts])
