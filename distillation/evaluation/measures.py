"""The measures: each is a ratio of sums over items, so that one bootstrap serves all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.evaluation.corpus import Bools, Corpus
from keydistill.distillation.evaluation.retrieval import Embedded, Lists
from keydistill.distillation.evaluation.sampling import Unit

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class About:
    """How a measure is described to a person.

    Attributes:
        title: Its name.
        meaning: Description of what it counts, in a few words.
        better_when_more: Whether a larger figure is better; False where neither is.
        share: Whether it is a proportion.
    """

    title: str
    meaning: str
    better_when_more: bool = False
    share: bool = True


# In the order of the report. A name ends in "@k" where there is one figure per cut-off.
ABOUT: Mapping[str, About] = {
    "relevant": About(
        "Judged relevant",
        "of the keyphrases that are new and pass the search filter, the share judged relevant",
        True,
    ),
    "new_relevant": About(
        "New relevant per item",
        "keyphrases per item that are new, pass the filter and are relevant",
        True,
        share=False,
    ),
    "judged": About("Judged", "of the keyphrases that were to be judged, those that the judge knew"),
    "recall": About(
        "Recall", "of an item's relevant labelled keyphrases in the inventory, the share in its list", True
    ),
    "auc_per_keyphrase": About(
        "AUC per keyphrase",
        "chance that a relevant item of a keyphrase scores above an irrelevant one, mean over keyphrases",
        True,
    ),
    "auc_per_item": About("AUC per item", "the same among the keyphrases of one item, mean over items", True),
    "pair_ndcg": About(
        "nDCG of judged items", "labelled items of a keyphrase ranked by the student, mean over keyphrases", True
    ),
    "precision": About(
        "Precision", "labelled relevant, by the length asked for; unlabelled ones count as irrelevant", True
    ),
    "ndcg": About("nDCG", "graded labels, discounted by rank; unlabelled ones are worth nothing", True),
    "auc": About(
        "Pooled AUC",
        "compares pairs of different keyphrases too: knowing how often each is relevant is enough to do well",
        True,
    ),
    "below_clicks": About(
        "Below click threshold",
        "of the pairs of the click log, those with a score below the one that keeps 95% of the clicks: what can be "
        "left out at that price",
        True,
    ),
    "sales_below_clicks": About(
        "Sales below click threshold", "of the sales in the click log, those of pairs with a score below that one"
    ),
    "listed_below_clicks": About(
        "Listed below click threshold", "of the recommended keyphrases, those with a score below that one"
    ),
    "click_threshold": About("Click threshold", "cosine similarity that keeps 95% of the clicks", share=False),
    "search_pass": About(
        "Search pass rate", "of the new keyphrases that the search filter knows, the share that it lets through", True
    ),
    "head": About("Head share", "of the recommended keyphrases, those among the head by search volume"),
    "coverage": About("Coverage", "of the inventory, the keyphrases that at least one item gets"),
    "diversity": About(
        "Diversity", "1 less the mean cosine between the keyphrases of a list, by this student's vectors"
    ),
    "distinct_words": About("Distinct words", "different words of a list by all its words"),
    "already_known": About("Already recommended", "of the recommended keyphrases, those that other sources have"),
    "search_known": About("Known to the search filter", "of the new keyphrases, those that its table knows"),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio of sums; `numerators` and `denominators` have an entry per unit."""

    unit: Unit
    numerators: Floats
    denominators: Floats

    @property
    def value(self) -> float:
        """The figure over all units; nan where there is nothing to divide by."""
        below = float(self.denominators.sum())
        return float(self.numerators.sum()) / below if below else float("nan")


@dataclass(frozen=True, slots=True)
class ListVerdicts:
    """The verdict on every place of every list; all of shape (n, k).

    Attributes:
        known: Whether other sources recommend it already.
        search_known: Whether the search filter has an opinion.
        search_passed: Whether the search filter lets it through.
        asked: Whether the judge was asked: the keyphrase is new, and not rejected.
        judged: Whether the judge knew.
        relevant: Whether the judge said yes.
    """

    known: Bools
    search_known: Bools
    search_passed: Bools
    asked: Bools
    judged: Bools
    relevant: Bools


def list_measures(
    lists: Lists,
    verdicts: ListVerdicts,
    corpus: Corpus,
    embedded: Embedded,
    cutoffs: Sequence[int],
    *,
    filtered: bool,
    excluding: bool,
) -> dict[str, Measure]:
    """Measures of the lists themselves, per item and cut-off.

    Args:
        lists: Keyphrases that the items get.
        verdicts: Verdicts on these lists.
        corpus: Corpus whose items and texts the numbers stand for.
        embedded: Vectors of keyphrases, for diversity.
        cutoffs: Values of k.
        filtered: Whether there is a search filter.
        excluding: Whether there is a table of what other sources recommend.
    """
    present = lists.rows >= 0
    new = present & ~verdicts.known
    relevant = verdicts.relevant
    shares: dict[str, tuple[Bools, Bools]] = {
        "relevant": (relevant, verdicts.judged),
        "judged": (verdicts.judged, verdicts.asked),
    }
    if excluding:
        shares["already_known"] = (verdicts.known, present)
    if filtered:
        shares["search_pass"] = (verdicts.search_passed & new, verdicts.search_known & new)
        shares["search_known"] = (verdicts.search_known & new, new)
    head = corpus.head()
    if head is not None:
        shares["head"] = (present & head[lists.rows], present)
    measures: dict[str, Measure] = {}
    items = np.ones(len(lists.rows))
    for k in cutoffs:
        for name, (part, counted) in shares.items():
            measures[f"{name}@{k}"] = Measure("item", _count(part, k), _count(counted, k))
        measures[f"new_relevant@{k}"] = Measure("item", _count(relevant, k), items)
        measures[f"distinct_words@{k}"] = _distinct_words(lists, corpus, k)
    for k, diversity in _diversities(lists, embedded, cutoffs).items():
        measures[f"diversity@{k}"] = diversity
    return measures


def coverage(lists: Lists, corpus: Corpus, k: int) -> float:
    """The share of the inventory that at least one item gets among its first k."""
    rows = lists.rows[:, :k]
    return len(np.unique(rows[rows >= 0])) / len(corpus)


def _count(flags: Bools, k: int) -> Floats:
    return np.asarray(flags[:, :k].sum(axis=1), dtype=np.float64)


def _distinct_words(lists: Lists, corpus: Corpus, k: int) -> Measure:
    words = {text: corpus.texts[text].split() for text in np.unique(lists.texts[:, :k]).tolist() if text >= 0}
    distinct, total = np.zeros(len(lists.texts)), np.zeros(len(lists.texts))
    for item, texts in enumerate(lists.texts[:, :k].tolist()):
        used = [word for text in texts if text >= 0 for word in words[text]]
        distinct[item], total[item] = len(set(used)), len(used)
    return Measure("item", distinct, total)


def _diversities(lists: Lists, embedded: Embedded, cutoffs: Sequence[int]) -> dict[int, Measure]:
    """Per cut-off of at least 2: 1 less the mean cosine of all pairs within a list.

    Of unit vectors v the cosines of all ordered pairs sum to |sum of v|^2 - n.
    """
    diverse_cutoffs = [k for k in cutoffs if k > 1]
    values = {k: np.zeros(len(lists.rows)) for k in diverse_cutoffs}
    counted = {k: np.zeros(len(lists.rows)) for k in diverse_cutoffs}
    for item, texts in enumerate(lists.texts):
        vectors = embedded.texts[texts[texts >= 0]].astype(np.float64)
        sums = np.cumsum(vectors, axis=0)
        for k in diverse_cutoffs:
            n = min(k, len(vectors))
            if n > 1:
                values[k][item] = 1 - (float(sums[n - 1] @ sums[n - 1]) - n) / (n * (n - 1))
                counted[k][item] = 1
    return {k: Measure("item", values[k], counted[k]) for k in diverse_cutoffs}
