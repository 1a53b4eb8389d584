"""Which keyphrases are relevant to which items: a join on attributes, never on words.

A keyphrase is relevant to an item exactly if the item has every value that the keyphrase asks for, and both are on the
same site. An accessory that fits several models has each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.simulation.wording import ABSENT, SLOT, Values

Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of places, both arrays of the same length, ordered by item and then keyphrase, each pair once."""

    items: Places
    keyphrases: Places

    def __len__(self) -> int:
        return len(self.items)

    def codes(self, keyphrases: int) -> NDArray[np.int64]:
        """One ascending number per pair, for comparing sets of pairs."""
        return self.items.astype(np.int64) * keyphrases + self.keyphrases


def pairs_from_codes(codes: NDArray[np.int64], keyphrases: int) -> Pairs:
    """The pairs of ascending, different numbers that `Pairs.codes` gave."""
    return Pairs((codes // keyphrases).astype(np.int32), (codes % keyphrases).astype(np.int32))


def matching_pairs(
    items: Values,
    fits: NDArray[np.int64],
    keyphrases: Values,
    most_items: int | None = None,
    rng: np.random.Generator | None = None,
) -> Pairs:
    """Every pair in which the item has all that the keyphrase asks for.

    Args:
        items: Shape (n, slots), `ABSENT` where an item has no such attribute.
        fits: Shape (f, 2), places of items and the models that they fit.
        keyphrases: Shape (m, slots), `ABSENT` where a keyphrase does not care.
        most_items: Draw about so many items for a keyphrase that has more, instead of all.
        rng: Source of chance, needed with `most_items`.
    """
    variants = np.arange(len(items)), items
    if len(fits):
        # An item once per model that it fits; only keyphrases that name such a model look here.
        by_model = items[fits[:, 0]].copy()
        by_model[:, SLOT["fit_model"]] = fits[:, 1]
        fitting = fits[:, 0], by_model
    else:
        fitting = variants
    codes = [np.empty(0, dtype=np.int64)]
    for columns, members in _by_columns(keyphrases):
        places, rows = fitting if SLOT["fit_model"] in columns else variants
        left, right = _join(rows[:, columns], keyphrases[np.ix_(members, columns)], most_items, rng)
        codes.append(places[left].astype(np.int64) * len(keyphrases) + members[right])
    return pairs_from_codes(np.unique(np.concatenate(codes)), max(1, len(keyphrases)))


def _by_columns(keyphrases: Values) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Keyphrases that ask for the same slots: the slots, and the places of the keyphrases."""
    is_asked = keyphrases != ABSENT
    bits = is_asked @ (1 << np.arange(keyphrases.shape[1], dtype=np.int64))
    order = np.argsort(bits, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(bits[order]) != 0]) if len(order) else order
    for members in np.split(order, starts[1:]):
        if len(members):
            yield np.flatnonzero(is_asked[members[0]]), members


def _join(
    rows: Values, keyphrases: Values, most: int | None, rng: np.random.Generator | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places in `rows` and in `keyphrases` that are equal in all columns."""
    usable = np.flatnonzero((rows != ABSENT).all(axis=1))
    keys, keyphrase_keys = _numbered(rows[usable], keyphrases)
    order = np.argsort(keys, kind="stable")
    keys, usable = keys[order], usable[order]
    first = np.searchsorted(keys, keyphrase_keys, side="left")
    counts = np.searchsorted(keys, keyphrase_keys, side="right") - first
    taken = counts if most is None else np.minimum(counts, most)
    right = np.repeat(np.arange(len(keyphrases)), taken)
    offsets = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    if most is not None and rng is not None:
        # Draws may hit one item twice: then a keyphrase gets a few items fewer.
        drawn = (rng.random(len(right)) * counts[right]).astype(np.int64)
        offsets = np.where(counts[right] > taken[right], drawn, offsets)
    return usable[first[right] + offsets], right


def _numbered(rows: Values, keyphrases: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number per row, equal exactly if the rows are."""
    both = np.vstack([rows, keyphrases]).astype(np.int64)
    keys = np.zeros(len(both), dtype=np.int64)
    span = 1
    for column in both.T:
        radix = int(column.max(initial=0)) + 1
        if span * radix >= 1 << 62:
            keys = np.unique(keys, return_inverse=True)[1].astype(np.int64)
            span = int(keys.max(initial=0)) + 1
        keys = keys * radix + column
        span *= radix
    return keys[: len(rows)], keys[len(rows) :]
