"""What a figure rests on: the judged pairs behind it, and the rule by which measures lead a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.evaluation.bootstrap import Estimate
from keydistill.distillation.evaluation.corpus import Corpus
from keydistill.distillation.evaluation.label_measures import PAIR_NDCG_K, CorpusLabels
from keydistill.distillation.evaluation.measures import ABOUT, ListVerdicts
from keydistill.distillation.evaluation.retrieval import Lists

# Fewest judged pairs behind a figure that is drawn: the interval of a share of 30 is up to 0.36 wide.
MIN_JUDGED_PAIRS = 30
# Below this judged share, what is said of the judged part of the lists says little about the lists.
SMALL_JUDGED_SHARE = 0.5
# Measures of the judged part of the lists; they stand last where that part is small.
_OF_JUDGED_PART = ("relevant", "new_relevant", "judged")


@dataclass(frozen=True, slots=True)
class Support:
    """The number of judged (or labelled) pairs behind a figure, and of the different items and keyphrases in them."""

    pairs: int
    items: int
    keyphrases: int

    @property
    def is_enough(self) -> bool:
        """Whether the figure is drawn."""
        return self.pairs >= MIN_JUDGED_PAIRS

    @classmethod
    def of(cls, items: NDArray[np.int64], texts: NDArray[np.int64]) -> "Support":
        """The support by pairs, each given by its item and text.

        >>> Support.of(np.array([0, 0, 1]), np.array([7, 8, 8]))
        Support(pairs=3, items=2, keyphrases=2)
        """
        return cls(len(items), len(np.unique(items)), len(np.unique(texts)))


Supports = Mapping[str, Support]


def supports_of(
    lists: Lists,
    verdicts: ListVerdicts,
    pairs: CorpusLabels | None,
    corpus: Corpus,
    cutoffs: Sequence[int],
    inside: NDArray[np.bool_],
) -> dict[str, Support]:
    """The support of every measure that rests on verdicts or labels; others (diversity, say) have none.

    Args:
        lists: Keyphrases that the items get.
        verdicts: Verdicts on these lists.
        pairs: The labelled pairs, or None.
        corpus: Corpus whose items and texts the numbers stand for.
        cutoffs: Values of k.
        inside: Whether each item counts, shape (n,).
    """
    supports: dict[str, Support] = {}
    passed_or_rejected = verdicts.search_known & ~verdicts.known
    for k in cutoffs:
        for flags, names in ((verdicts.judged, ("relevant", "new_relevant")), (passed_or_rejected, ("search_pass",))):
            items, places = np.nonzero(flags[:, :k] & inside[:, None])
            support = Support.of(items, lists.texts[items, places])
            supports.update({f"{name}@{k}": support for name in names})
    if pairs is None:
        return supports
    counted = inside[pairs.items]
    in_inventory = counted & corpus.in_inventory[pairs.texts]
    for names, useful in ((("recall", "precision"), pairs.relevant), (("ndcg",), pairs.grades > 0)):
        # The labels of items that have something to find.
        there = np.zeros(len(corpus.titles), dtype=bool)
        there[pairs.items[in_inventory & useful]] = True
        chosen = in_inventory & there[pairs.items]
        support = Support.of(pairs.items[chosen], pairs.texts[chosen])
        supports.update({f"{name}@{k}": support for name in names for k in cutoffs})
    both_by = {"auc": np.zeros(len(pairs.items), dtype=np.int64), "auc_per_item": pairs.items}
    both_by["auc_per_keyphrase"] = pairs.keyphrase_of
    for name, groups in both_by.items():
        chosen = counted & _with_both(groups, pairs.relevant & counted, ~pairs.relevant & counted)
        supports[name] = Support.of(pairs.items[chosen], pairs.texts[chosen])
    several = np.bincount(pairs.keyphrase_of[counted], minlength=len(pairs.keyphrases)) > 1
    has_worth = np.bincount(pairs.keyphrase_of[counted], pairs.grades[counted], minlength=len(pairs.keyphrases)) > 0
    chosen = counted & (several & has_worth)[pairs.keyphrase_of]
    supports[f"pair_ndcg@{PAIR_NDCG_K}"] = Support.of(pairs.items[chosen], pairs.texts[chosen])
    return supports


def leading_measures(estimates: Mapping[str, Estimate], headline: int) -> list[str]:
    """The names of `ABOUT` in the order of a report.

    Where less than `SMALL_JUDGED_SHARE` of the lists was judged and recall is known, recall leads, and what is said of
    the judged part of the lists stands last.

    >>> few = {"judged@10": Estimate(0.02), "recall@10": Estimate(0.5)}
    >>> leading_measures(few, 10)[0], leading_measures(few, 10)[-3:]
    ('recall', ['relevant', 'new_relevant', 'judged'])
    >>> leading_measures({**few, "judged@10": Estimate(0.9)}, 10)[0]
    'relevant'
    """
    names = list(ABOUT)
    judged, recall = (estimates.get(f"{name}@{headline}") for name in ("judged", "recall"))
    judged_share = None if judged is None else judged.value
    if recall is None or recall.value is None or (judged_share is not None and judged_share >= SMALL_JUDGED_SHARE):
        return names
    return [name for name in names if name not in _OF_JUDGED_PART] + list(_OF_JUDGED_PART)


def _with_both(
    groups: NDArray[np.int64], relevant: NDArray[np.bool_], irrelevant: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether each pair's group has relevant and irrelevant pairs."""
    both: NDArray[np.bool_] = (np.bincount(groups, relevant) > 0) & (np.bincount(groups, irrelevant) > 0)
    return both[groups]
