"""Measures by labelled pairs: rank measures by ir_measures, and how well scores tell relevant from irrelevant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from keydistill.distillation.evaluation.auc import grouped_auc
from keydistill.distillation.evaluation.corpus import Corpus
from keydistill.distillation.evaluation.judges import grade_column, label_column
from keydistill.distillation.evaluation.measures import Measure
from keydistill.distillation.evaluation.retrieval import Lists

PAIR_NDCG_K = 10
# Fewest keyphrases or items in a mean: one over fewer says nothing, and its interval less.
MIN_GROUPS = 5


@dataclass(frozen=True, slots=True)
class CorpusLabels:
    """The labelled pairs of a corpus, each once, sorted by item and text.

    Attributes:
        items: Number of each pair's item, shape (p,).
        texts: Number of each pair's text, shape (p,).
        relevant: Label of each pair, shape (p,).
        grades: Worth of each pair for nDCG, shape (p,); the label where the table has no grades.
        unknown_items: Number of labels that were left out because their item is not among those that are evaluated.
        keyphrases: The different texts, sorted.
        keyphrase_of: Place in `keyphrases` of each pair's text.
    """

    items: NDArray[np.int64]
    texts: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    grades: NDArray[np.float32]
    unknown_items: int
    keyphrases: NDArray[np.int64]
    keyphrase_of: NDArray[np.int64]

    @classmethod
    def of(cls, labels: pa.Table, corpus: Corpus) -> "CorpusLabels":
        """The labels of pairs of a corpus; of several labels of a pair, the last counts."""
        table = corpus.pair_table(labels)
        last = np.append(table.keys[1:] != table.keys[:-1], True) if len(table.keys) else np.empty(0, dtype=bool)
        label = label_column(labels)
        rows = table.rows[last]
        labelled = ~np.isnan(label[rows])
        rows, keys = rows[labelled], table.keys[last][labelled]
        texts = keys % len(corpus.texts)
        keyphrases, keyphrase_of = np.unique(texts, return_inverse=True)
        return cls(
            items=keys // len(corpus.texts),
            texts=texts,
            relevant=label[rows] > 0,
            grades=grade_column(labels)[rows],
            unknown_items=len(labels) - len(table.rows),
            keyphrases=keyphrases,
            keyphrase_of=keyphrase_of,
        )


def rank_measures(lists: Lists, pairs: CorpusLabels, corpus: Corpus, cutoffs: Sequence[int]) -> dict[str, Measure]:
    """recall@k, precision@k and nDCG@k of the lists, over the items with a relevant keyphrase in the inventory."""
    import ir_measures
    from ir_measures import P, Qrel, R, ScoredDoc, nDCG

    inside = corpus.in_inventory[pairs.texts]
    judged = list(zip(pairs.items[inside].tolist(), pairs.texts[inside].tolist(), strict=True))
    binary = [
        Qrel(str(item), str(text), int(label))
        for (item, text), label in zip(judged, pairs.relevant[inside].tolist(), strict=True)
    ]
    graded = [
        Qrel(str(item), str(text), int(grade))
        for (item, text), grade in zip(judged, pairs.grades[inside].tolist(), strict=True)
    ]
    # Minus the rank for a score: it leaves no ties, which each tool breaks in its own way.
    run = [
        ScoredDoc(str(item), str(text), float(-rank))
        for item, texts in enumerate(lists.texts.tolist())
        for rank, text in enumerate(dict.fromkeys(texts))
        if text >= 0
    ]
    has_relevant = np.zeros(len(lists.texts))
    has_relevant[pairs.items[inside & pairs.relevant]] = 1
    has_worth = np.zeros(len(lists.texts))
    has_worth[pairs.items[inside & (pairs.grades > 0)]] = 1
    measures: dict[str, Measure] = {}
    for qrels, kinds, counted in (
        (binary, (("recall", R), ("precision", P)), has_relevant),
        (graded, (("ndcg", nDCG),), has_worth),
    ):
        names = {kind @ k: f"{name}@{k}" for name, kind in kinds for k in cutoffs}
        values = {name: np.zeros(len(lists.texts)) for name in names.values()}
        if counted.any():
            for metric in ir_measures.iter_calc(list(names), qrels, run):
                values[names[metric.measure]][int(metric.query_id)] = metric.value
        measures.update({name: Measure("item", value * counted, counted) for name, value in values.items()})
    return measures


def pair_measures(pairs: CorpusLabels, scores: NDArray[np.float32], corpus: Corpus) -> dict[str, Measure]:
    """How well scores order the labelled pairs of one keyphrase, and of one item, whether or not it retrieves them.

    Args:
        pairs: The labelled pairs.
        scores: The student's score of each pair, shape (p,).
        corpus: Corpus whose items and texts the numbers stand for.

    Returns:
        AUC per keyphrase (of `pairs.keyphrases`), per item, and nDCG@10 of the judged items of a keyphrase; each only
        where at least `MIN_GROUPS` keyphrases or items have it.
    """
    per_keyphrase = _over(grouped_auc(pairs.keyphrase_of, scores, pairs.relevant), len(pairs.keyphrases))
    per_item = _over(grouped_auc(pairs.items, scores, pairs.relevant), len(corpus.item_ids))
    ndcg = _pair_ndcg(pairs, scores)
    measures = {
        "auc_per_keyphrase": Measure("keyphrase", *per_keyphrase),
        "auc_per_item": Measure("item", *per_item),
        f"pair_ndcg@{PAIR_NDCG_K}": Measure("keyphrase", *ndcg),
    }
    return {name: measure for name, measure in measures.items() if measure.denominators.sum() >= MIN_GROUPS}


def _pair_ndcg(pairs: CorpusLabels, scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import ir_measures
    from ir_measures import Qrel, ScoredDoc, nDCG

    count = len(pairs.keyphrases)
    values, counted = np.zeros(count), np.zeros(count)
    has_worth = np.bincount(pairs.keyphrase_of, pairs.grades, minlength=count) > 0
    # A single judged item is ranked well by anybody.
    several = np.bincount(pairs.keyphrase_of, minlength=count) > 1
    pair_places = np.flatnonzero((has_worth & several)[pairs.keyphrase_of])
    if not len(pair_places):
        return values, counted
    names = [
        (str(text), str(item))
        for text, item in zip(pairs.keyphrase_of[pair_places], pairs.items[pair_places], strict=True)
    ]
    qrels = [Qrel(*name, int(grade)) for name, grade in zip(names, pairs.grades[pair_places], strict=True)]
    run = [ScoredDoc(*name, float(score)) for name, score in zip(names, scores[pair_places], strict=True)]
    for metric in ir_measures.iter_calc([nDCG @ PAIR_NDCG_K], qrels, run):
        values[int(metric.query_id)], counted[int(metric.query_id)] = metric.value, 1
    return values, counted


def _over(figures: NDArray[np.float64], units: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Figures of the first groups as sums over all units; nan counts nowhere."""
    all_figures = np.full(units, np.nan)
    all_figures[: len(figures)] = figures
    counted = ~np.isnan(all_figures)
    return np.where(counted, all_figures, 0.0), counted.astype(np.float64)
