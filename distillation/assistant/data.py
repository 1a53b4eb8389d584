"""The pairs that an assistant learns from, each with a target, and the part of them that is held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from keydistill.errors import TrainingError

if TYPE_CHECKING:
    import pyarrow as pa

GroupBy = Literal["keyphrase", "item"]


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """n pairs of an item and a keyphrase, each with the probability to learn.

    Attributes:
        item_ids: Id of each pair's item; items of the same id have the same title.
        titles: Title of each item.
        categories: Category of each item, a path ("A > B > C") or None.
        keyphrases: Keyphrase of each pair, normalised.
        targets: Probability that the pair is relevant, 0 to 1; shape (n,).
    """

    item_ids: Sequence[str]
    titles: Sequence[str]
    categories: Sequence[str | None]
    keyphrases: Sequence[str]
    targets: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse targets that are no probabilities.

        Raises:
            TrainingError: One is outside of 0 to 1, or not a number.
        """
        bad = np.flatnonzero(~((self.targets >= 0) & (self.targets <= 1)))
        if len(bad):
            place = int(bad[0])
            raise TrainingError(
                f"pair {place + 1:,} ({self.item_ids[place]!r}, {self.keyphrases[place]!r}) has the target "
                f"{self.targets[place]}; expected a probability from 0 to 1"
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Whether each pair is positive: its target is at least 0.5; shape (n,)."""
        return self.targets >= 0.5

    def take(self, places: NDArray[np.intp]) -> LabelledPairs:
        """The pairs at these places, in their order."""
        return LabelledPairs(
            [self.item_ids[place] for place in places],
            [self.titles[place] for place in places],
            [self.categories[place] for place in places],
            [self.keyphrases[place] for place in places],
            self.targets[places],
        )

    @classmethod
    def joined(cls, parts: Sequence[LabelledPairs]) -> LabelledPairs:
        """The pairs of several, one after the other."""
        return cls(
            [item_id for part in parts for item_id in part.item_ids],
            [title for part in parts for title in part.titles],
            [category for part in parts for category in part.categories],
            [keyphrase for part in parts for keyphrase in part.keyphrases],
            np.concatenate([part.targets for part in parts]),
        )

    def groups(self, by: GroupBy) -> Sequence[str]:
        """The keyphrase of each pair, or its item."""
        return self.keyphrases if by == "keyphrase" else self.item_ids

    def digest(self) -> str:
        """SHA-256 (hex) over all pairs and their targets."""
        texts = [list(self.item_ids), list(self.titles), list(self.categories), list(self.keyphrases)]
        digest = hashlib.sha256(json.dumps(texts).encode())
        digest.update(np.ascontiguousarray(self.targets).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """Pairs to learn from and pairs to measure on, without a keyphrase (or item) in common."""

    training: LabelledPairs
    held_out: LabelledPairs
    warm_up: LabelledPairs | None = None


def judged_pairs(judgments: pa.Table, items: pa.Table) -> tuple[LabelledPairs, int]:
    """Judgments with the titles of their items.

    Args:
        judgments: Table by `keydistill.distillation.signals.JUDGMENTS`. The probability is the target, where the
            judge gave one; otherwise the label is.
        items: Table by `keydistill.distillation.signals.ITEMS`.

    Returns:
        The pairs, in the order of the judgments, and the number of judgments whose item is unknown.
    """
    columns = (items[name].to_pylist() for name in ("site", "item_id", "title", "category_path"))
    item_of: dict[tuple[str | None, str], tuple[str, str | None]] = {}
    for site, item_id, title, category in zip(*columns, strict=True):
        item_of[site, item_id] = (title, category)
        # For judgments without a site.
        item_of.setdefault((None, item_id), (title, category))

    names = ("site", "item_id", "keyphrase", "label", "probability")
    rows: list[tuple[str, str, str | None, str, float]] = []
    for site, item_id, keyphrase, label, probability in zip(
        *(judgments[name].to_pylist() for name in names), strict=True
    ):
        item = item_of.get((site, item_id)) or item_of.get((None, item_id))
        if item is not None:
            rows.append((item_id, *item, keyphrase, float(label) if probability is None else probability))
    if not rows:
        return LabelledPairs([], [], [], [], np.empty(0, dtype=np.float32)), len(judgments)
    item_ids, titles, categories, keyphrases, targets = zip(*rows, strict=True)
    pairs = LabelledPairs(item_ids, titles, categories, keyphrases, np.array(targets, dtype=np.float32))
    return pairs, len(judgments) - len(pairs)


def split(
    pairs: LabelledPairs,
    share: float,
    *,
    by: GroupBy = "keyphrase",
    seed: int = 0,
    warm_up: LabelledPairs | None = None,
) -> Split:
    """Hold out about a share of the pairs: whole groups of them, chosen by the seed.

    Args:
        pairs: All pairs.
        share: Share to hold out, between 0 and 1; it is exceeded by at most one group.
        by: Property that a group has in common. By keyphrase, the assistant is measured on keyphrases that it never
            saw.
        seed: Seed of the choice of groups.
        warm_up: Pairs for a stage before the training; those of held-out groups are left out of it.

    Raises:
        TrainingError: One of the parts would be empty, or have only positive or only negative pairs.
    """
    names, group_of, sizes = _grouped(pairs, by)
    order = np.random.default_rng(seed).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), share * len(pairs))) + 1
    is_held_out = np.zeros(len(names), dtype=bool)
    is_held_out[order[:enough]] = True
    return _checked(_divided(pairs, is_held_out[group_of], by, warm_up), by, len(names), "hold out another share")


def folds(
    pairs: LabelledPairs,
    count: int,
    *,
    by: GroupBy = "keyphrase",
    seed: int = 0,
    warm_up: LabelledPairs | None = None,
) -> list[Split]:
    """As many splits as there are folds: each pair is held out in one of them, together with its group.

    The largest groups are dealt first, each to the fold with the fewest pairs so far, so that folds are of about the
    same size and a few long lists do not meet in one.

    Args:
        pairs: All pairs.
        count: Number of folds, from 2 up.
        by: Property that a group has in common.
        seed: Seed of the order of groups of the same size.
        warm_up: Pairs for a stage before the training; each fold leaves out those of its held-out groups.

    Raises:
        TrainingError: One of the parts would be empty, or have only positive or only negative pairs.
    """
    names, group_of, sizes = _grouped(pairs, by)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of, filled = np.zeros(len(names), dtype=np.intp), np.zeros(count, dtype=np.intp)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return [
        _checked(_divided(pairs, fold_of[group_of] == fold, by, warm_up), by, len(names), "make fewer folds")
        for fold in range(count)
    ]


def effective_groups(pairs: LabelledPairs, by: GroupBy) -> float:
    """The number of equally large groups that would say as much (Kish 1965): n pairs squared by the sum of squares.

    >>> targets = np.zeros(6, dtype=np.float32)
    >>> keyphrases = ["shoes"] * 5 + ["lamp"]
    >>> round(effective_groups(LabelledPairs(["1"] * 6, ["t"] * 6, [None] * 6, keyphrases, targets), "keyphrase"), 2)
    1.38
    """
    _, _, sizes = _grouped(pairs, by)
    return float(len(pairs) ** 2 / max(1, np.square(sizes.astype(np.float64)).sum()))


def _grouped(pairs: LabelledPairs, by: GroupBy) -> tuple[NDArray[np.object_], NDArray[np.intp], NDArray[np.intp]]:
    """Names of the groups, group of each pair, and sizes; sorted, so that the order of the pairs decides nothing."""
    names, group_of, sizes = np.unique(
        np.array(pairs.groups(by), dtype=object), return_inverse=True, return_counts=True
    )
    return names, group_of, sizes


def _divided(pairs: LabelledPairs, is_held_out: NDArray[np.bool_], by: GroupBy, warm_up: LabelledPairs | None) -> Split:
    held_out = pairs.take(np.flatnonzero(is_held_out))
    return Split(
        training=pairs.take(np.flatnonzero(~is_held_out)),
        held_out=held_out,
        warm_up=None if warm_up is None else _without(warm_up, by, frozenset(held_out.groups(by))),
    )


def _checked(parts: Split, by: GroupBy, groups: int, advice: str) -> Split:
    for name, part in (("training", parts.training), ("held-out", parts.held_out)):
        positive = int(part.labels.sum())
        if min(positive, len(part) - positive) < 2:
            raise TrainingError(
                f"{positive:,} of the {len(part):,} {name} pairs are positive ({groups:,} different {by}s in all); "
                f"expected at least two positive and two negative ones; give more pairs, or {advice}"
            )
    return parts


def _without(pairs: LabelledPairs, by: GroupBy, held_out_groups: frozenset[str]) -> LabelledPairs:
    groups = pairs.groups(by)
    return pairs.take(np.flatnonzero([group not in held_out_groups for group in groups]))
