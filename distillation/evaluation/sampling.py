"""What a resample of the bootstrap draws: items, the keyphrases that their labels were collected for, or both.

Labels come in lists: a person looks at the items of a query, or at the keyphrases of an item. Figures of items that one
query brought along go up and down together, and an interval that draws such items one by one is too narrow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.distillation.evaluation.bootstrap import BLOCK, Floats, weights

Ints = NDArray[np.int64]
Unit = Literal["item", "keyphrase"]
Drawn = Literal["items", "keyphrases", "items and keyphrases"]

# From this mean length on, the labels of a keyphrase (or of an item) count as a list of its own.
LIST_LENGTH = 1.5
# Beside keyphrases, items are drawn by a stream of their own.
_ITEM_STREAM = 1


def labels_are_lists(keyphrases: pa.Array | pa.ChunkedArray, items: pa.Array | pa.ChunkedArray) -> bool:
    """Whether labels are lists of items for a keyphrase, and not lists of keyphrases for an item.

    >>> labels_are_lists(pa.array(["a", "a", "b"]), pa.array(["1", "2", "3"]))
    True
    """
    of_keyphrase, of_item = (len(names) / max(1, len(pc.unique(names))) for names in (keyphrases, items))
    return of_keyphrase >= LIST_LENGTH > of_item


def _mean_length(names: Ints) -> float:
    return len(names) / len(np.unique(names))


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """The units of an evaluation, and which of them a resample draws.

    Where it draws keyphrases, an item counts as often as the keyphrases of its labels are drawn on average; one without
    labels is drawn by itself. Where it draws both, the two numbers are multiplied (Owen and Eckles, "Bootstrapping data
    arrays of arbitrary order", 2012).

    Attributes:
        drawn: What a resample draws.
        items: Number of items.
        keyphrases: Number of keyphrases with labels.
        pair_items: Item of each labelled pair, ascending, shape (p,).
        pair_keyphrases: Keyphrase of each labelled pair, shape (p,).
    """

    drawn: Drawn
    items: int
    keyphrases: int
    pair_items: Ints
    pair_keyphrases: Ints

    @classmethod
    def of_items(cls, items: int) -> Self:
        """The sampling of items that stand alone."""
        nothing = np.empty(0, dtype=np.int64)
        return cls("items", items, 0, nothing, nothing)

    @classmethod
    def of_labels(cls, items: int, keyphrases: int, pair_items: Ints, pair_keyphrases: Ints, *, complete: bool) -> Self:
        """The sampling that suits labels.

        Args:
            items: Number of items.
            keyphrases: Number of keyphrases with labels.
            pair_items: Item of each labelled pair, ascending, shape (p,).
            pair_keyphrases: Keyphrase of each labelled pair, shape (p,).
            complete: Whether every pair has a label, as in a simulation: then nobody chose keyphrases to be labelled,
                and items are drawn.
        """
        drawn: Drawn = "items"
        if not complete and len(pair_items) and _mean_length(pair_keyphrases) >= LIST_LENGTH:
            drawn = "items and keyphrases" if _mean_length(pair_items) >= LIST_LENGTH else "keyphrases"
        return cls(drawn, items, keyphrases, pair_items, pair_keyphrases)

    def within(self, inside: NDArray[np.bool_]) -> "Sampling":
        """The sampling of some of the items; keyphrases keep their numbers."""
        numbers = np.cumsum(inside) - 1
        kept = inside[self.pair_items]
        return Sampling(
            self.drawn, int(inside.sum()), self.keyphrases, numbers[self.pair_items[kept]], self.pair_keyphrases[kept]
        )

    def weights(self, unit: Unit, seed: int, resamples: int) -> Iterator[Floats]:
        """How often each resample counts each item or keyphrase, in blocks of shape (some, units)."""
        if unit == "keyphrase":
            yield from weights(self.keyphrases, seed, resamples)
            return
        labelled, first = np.unique(self.pair_items, return_index=True)
        lengths = np.diff(np.append(first, len(self.pair_items)))
        for items, keyphrases in self._draws(seed, resamples):
            if keyphrases is not None and len(labelled):
                means = np.add.reduceat(keyphrases[:, self.pair_keyphrases], first, axis=1) / lengths
                items[:, labelled] = means if self.drawn == "keyphrases" else means * items[:, labelled]
            yield items

    def pair_weights(self, seed: int, resamples: int) -> Iterator[Floats]:
        """How often each resample counts each labelled pair, in blocks of shape (some, p)."""
        for items, keyphrases in self._draws(seed, resamples):
            if keyphrases is None:
                yield items[:, self.pair_items]
            elif self.drawn == "keyphrases":
                yield keyphrases[:, self.pair_keyphrases]
            else:
                yield items[:, self.pair_items] * keyphrases[:, self.pair_keyphrases]

    def _draws(self, seed: int, resamples: int) -> Iterator[tuple[Floats, Floats | None]]:
        """The draws of items and of keyphrases; where keyphrases are drawn, of items those without labels only."""
        rows = max(1, BLOCK // max(self.items, self.keyphrases, len(self.pair_items), 1))
        if self.drawn == "items":
            for items in weights(self.items, seed, resamples, rows):
                yield items, None
            return
        drawn_alone = np.arange(self.items)
        if self.drawn == "keyphrases":
            drawn_alone = np.setdiff1d(drawn_alone, self.pair_items)
        by_keyphrase = weights(self.keyphrases, seed, resamples, rows)
        by_item = weights(len(drawn_alone), (seed, _ITEM_STREAM), resamples, rows)
        for keyphrases, alone in zip(by_keyphrase, by_item, strict=True):
            items = np.zeros((len(alone), self.items))
            items[:, drawn_alone] = alone
            yield items, keyphrases
