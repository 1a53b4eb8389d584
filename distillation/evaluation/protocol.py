"""The offline evaluation of arXiv 2508.03628: retrieve, remove what is known, filter like search, have it judged."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from keydistill.distillation.evaluation.bootstrap import RESAMPLES, Estimate
from keydistill.distillation.evaluation.click_retention import ShownPairs, clicks_of, retention_measures
from keydistill.distillation.evaluation.corpus import Corpus, MatchCategory
from keydistill.distillation.evaluation.estimates import estimates_of
from keydistill.distillation.evaluation.judges import RelevanceJudge
from keydistill.distillation.evaluation.label_measures import CorpusLabels, pair_measures, rank_measures
from keydistill.distillation.evaluation.list_judging import ListJudging, SearchFilter
from keydistill.distillation.evaluation.measures import ListVerdicts, Measure, coverage, list_measures
from keydistill.distillation.evaluation.result import (
    Category,
    Estimates,
    Evaluation,
    Histogram,
    ScoredPairs,
)
from keydistill.distillation.evaluation.retrieval import Lists, embed, reranked, retrieve
from keydistill.distillation.evaluation.samples import samples_of
from keydistill.distillation.evaluation.sampling import Sampling
from keydistill.distillation.evaluation.support import Supports, supports_of
from keydistill.encoders import Student
from keydistill.errors import InputError
from keydistill.progress import NO_PROGRESS, Progress

CUTOFFS = (1, 5, 10, 50)
_BINS = 40


def evaluate(
    student: Student,
    items: pa.Table,
    inventory: pa.Table,
    *,
    judge: RelevanceJudge,
    k: Sequence[int] = CUTOFFS,
    search_filter: SearchFilter | None = None,
    exclude: pa.Table | None = None,
    labels: pa.Table | None = None,
    clicks: pa.Table | None = None,
    dimensions: Sequence[int] | None = None,
    match_category: MatchCategory = "none",
    reranker: RelevanceJudge | None = None,
    rerank_depth: int = 50,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress = NO_PROGRESS,
) -> Evaluation:
    """Measure what a student recommends.

    For each item: the k nearest keyphrases of its site; less those of `exclude`; less those that the search filter
    rejects; what is left is judged. Labels say how complete and how well ordered the lists are.

    Args:
        student: Student that embeds items and keyphrases.
        items: Table of `item_id` (unique), `title`, and optionally `category_path` and `site`.
        inventory: Table of `keyphrase` (normalised), and optionally `site`, `category_ids`, `search_volume`.
        judge: Judge that decides whether a keyphrase is relevant.
        k: Cut-offs, the lengths of lists that are measured.
        search_filter: What the search engine lets through; None lets everything through.
        exclude: Table of `item_id` and `keyphrase` of what other sources already recommend.
        labels: Table of `item_id`, `keyphrase`, `label` and optionally `grade`: for recall, precision, nDCG and AUC.
        clicks: Click log, `item_id`, `keyphrase`, `clicks` and optionally `sales`, of all that was shown: for the
            threshold that keeps 95% of the clicks, and what falls below it.
        dimensions: Matryoshka dimensions to measure besides the student's own.
        match_category: Whether a keyphrase must belong to the item's leaf category, or to its parent.
        reranker: Judge that orders the student's lists, and scores the labelled pairs in its place: an assistant shows
            what a student that learns from it can reach at the most.
        rerank_depth: Number of keyphrases of each item that the reranker puts in order.
        seed: Seed of the bootstrap and of the choice of sample items.
        resamples: Number of resamples of the bootstrap.
        progress: Started for each step.

    Raises:
        InputError: A table lacks a column, has no rows or an item twice, or an argument is out of range.
    """
    cutoffs = _checked("cut-offs (k)", k)
    _checked("resamples", [resamples])
    sizes = sorted({student.dimension, *_checked("dimensions", dimensions or [student.dimension])}, reverse=True)
    if sizes[0] > student.dimension:
        raise InputError(f"dimension {sizes[0]} was asked for; student {student.version} has {student.dimension}")
    clicks = None if clicks is None else clicks_of(items, clicks)
    corpus = Corpus(items, inventory, further_texts=_keyphrases(labels, clicks), match_category=match_category)

    progress.start("embed", len(corpus.titles) + len(corpus.texts), "texts")
    embedded = embed(student, corpus, progress)
    progress.start("retrieve", len(sizes), "dimensions")
    lists_at: dict[int, Lists] = {}
    depth = max(cutoffs) if reranker is None else max(*cutoffs, rerank_depth)
    for size in sizes:
        lists_at[size] = retrieve(embedded.cut(size), corpus, depth)
        progress.advance(1)
    if reranker is not None:
        progress.start("rerank", sum(int((lists.texts >= 0).sum()) for lists in lists_at.values()), "pairs")
        lists_at = {
            size: reranked(lists, corpus, reranker, progress).first(max(cutoffs)) for size, lists in lists_at.items()
        }
    judging = ListJudging(corpus, judge, search_filter, exclude)
    judging.ask(list(lists_at.values()), progress)
    pairs = None if labels is None else CorpusLabels.of(labels, corpus)
    shown = None if clicks is None else ShownPairs.of(clicks, corpus)
    sampling = _sampling(corpus, pairs, judge)

    progress.start("measure", len(sizes), "dimensions")
    figures: dict[int, Estimates] = {}
    # The student's own dimension last: what is kept of it is what the result shows.
    for size in reversed(sizes):
        # Cut once more: the vectors of all dimensions together would take twice the memory.
        cut, lists = embedded.cut(size), lists_at[size]
        verdicts = judging.verdicts(lists)
        measures = list_measures(
            lists,
            verdicts,
            corpus,
            cut,
            cutoffs,
            filtered=search_filter is not None,
            excluding=exclude is not None,
        )
        scored = None
        if pairs is not None:
            if reranker is None:
                scores = cut.scores(pairs.items, pairs.texts)
            else:
                scores = reranker.probabilities(corpus, pairs.items, pairs.texts)
            scored = ScoredPairs(pairs.items, pairs.keyphrase_of, scores, pairs.relevant)
            measures |= rank_measures(lists, pairs, corpus, cutoffs) | pair_measures(pairs, scores, corpus)
        threshold = float("nan")
        if shown is not None:
            threshold, retention = retention_measures(shown, cut, lists, cutoffs)
            measures |= retention
        figures[size] = {
            **estimates_of(measures, scored, sampling, seed, resamples),
            **({} if np.isnan(threshold) else {"click_threshold": Estimate(threshold)}),
            **{f"coverage@{cutoff}": Estimate(coverage(lists, corpus, cutoff)) for cutoff in cutoffs},
        }
        progress.advance(1)
    return Evaluation(
        student=student.version,
        dimension=student.dimension,
        judge=judge.info,
        cutoffs=cutoffs,
        seed=seed,
        resamples=resamples,
        protocol={
            "match_category": match_category,
            "excludes_known": exclude is not None,
            "search_filter": search_filter is not None,
            "search_threshold": search_filter and search_filter.threshold,
            "unknown_passes_search": None if search_filter is None else search_filter.unknown_passes,
            "reranker": reranker and reranker.info.name,
            "rerank_depth": None if reranker is None else rerank_depth,
        },
        counts=_counts(corpus, lists, verdicts, pairs, shown, filtered=search_filter is not None),
        estimates=figures[student.dimension],
        supports=supports_of(lists, verdicts, pairs, corpus, cutoffs, np.ones(len(corpus.titles), dtype=bool)),
        categories=_categories(
            corpus,
            measures,
            sampling,
            lambda inside: supports_of(lists, verdicts, pairs, corpus, cutoffs, inside),
            seed,
            resamples,
        ),
        dimensions={size: figures[size] for size in sizes},
        histogram=_histogram(lists, verdicts, scored),
        samples=samples_of(corpus, lists, verdicts, min(max(cutoffs), 10), seed),
        item_ids=tuple(corpus.item_ids),
        keyphrases=() if pairs is None else tuple(corpus.texts[text] for text in pairs.keyphrases.tolist()),
        measures=measures,
        pairs=scored,
    )


def _checked(name: str, numbers: Sequence[int]) -> tuple[int, ...]:
    if not numbers or min(numbers) < 1:
        raise InputError(f"{name} are {', '.join(map(str, numbers)) or 'missing'}; expected whole numbers from 1 on")
    return tuple(sorted(set(numbers)))


def _keyphrases(labels: pa.Table | None, clicks: pa.Table | None) -> pa.ChunkedArray:
    """The keyphrases of labels and clicks, which need not be in the inventory."""
    if labels is not None and "keyphrase" not in labels.column_names:
        raise InputError(f"the labels have no column 'keyphrase'; found: {', '.join(labels.column_names)}")
    tables = [table for table in (labels, clicks) if table is not None]
    return pa.chunked_array(
        [chunk.cast(pa.string()) for table in tables for chunk in table["keyphrase"].chunks], pa.string()
    )


def _counts(
    corpus: Corpus,
    lists: Lists,
    verdicts: ListVerdicts,
    pairs: CorpusLabels | None,
    shown: ShownPairs | None,
    *,
    filtered: bool,
) -> dict[str, int]:
    present = lists.rows >= 0
    head = corpus.head()
    counts = {
        "items": len(corpus.titles),
        "keyphrases": len(corpus),
        "recommended": int(present.sum()),
        "already_known": int(verdicts.known.sum()),
        "judged": int(verdicts.judged.sum()),
        "not_judged": int((verdicts.asked & ~verdicts.judged).sum()),
    }
    if head is not None:
        counts["head_keyphrases"] = int(head.sum())
    if filtered:
        new = present & ~verdicts.known
        counts["rejected_by_search"] = int((new & verdicts.search_known & ~verdicts.search_passed).sum())
        counts["unknown_to_search"] = int((new & ~verdicts.search_known).sum())
    if shown is not None:
        counts["shown_pairs"], counts["clicks"] = len(shown.items), int(shown.clicks.sum())
        if shown.sales is not None:
            counts["sales"] = round(shown.sales.sum())
    if pairs is not None:
        counts["labelled_pairs"] = len(pairs.items)
        counts["labelled_items"] = len(np.unique(pairs.items))
        counts["labelled_keyphrases"] = len(pairs.keyphrases)
        counts["labelled_outside_inventory"] = int((~corpus.in_inventory[pairs.texts]).sum())
        counts["labels_of_other_items"] = pairs.unknown_items
    return counts


def _sampling(corpus: Corpus, pairs: CorpusLabels | None, judge: RelevanceJudge) -> Sampling:
    if pairs is None:
        return Sampling.of_items(len(corpus.titles))
    complete = judge.info.kind == "truth"
    return Sampling.of_labels(
        len(corpus.titles), len(pairs.keyphrases), pairs.items, pairs.keyphrase_of, complete=complete
    )


def _categories(
    corpus: Corpus,
    measures: Mapping[str, Measure],
    sampling: Sampling,
    supports: Callable[[NDArray[np.bool_]], Supports],
    seed: int,
    resamples: int,
) -> tuple[Category, ...]:
    groups = np.array(corpus.groups)
    names, sizes = np.unique(groups, return_counts=True)
    categories = []
    for name, size in sorted(zip(names.tolist(), sizes.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0])):
        inside = groups == name
        part = {
            measured: Measure("item", measure.numerators[inside], measure.denominators[inside])
            for measured, measure in measures.items()
            if measure.unit == "item"
        }
        estimates = estimates_of(part, None, sampling.within(inside), seed, resamples)
        categories.append(Category(name, size, estimates, supports(inside)))
    return tuple(categories)


def _histogram(lists: Lists, verdicts: ListVerdicts, scored: ScoredPairs | None) -> Histogram | None:
    if scored is not None and len(scored.scores):
        of, scores, relevant = "labelled pairs", scored.scores, scored.relevant
    else:
        of, scores, relevant = "judged pairs", lists.scores[verdicts.judged], verdicts.relevant[verdicts.judged]
    if not len(scores):
        return None
    low, high = float(np.floor(scores.min() * 20) / 20), float(np.ceil(scores.max() * 20) / 20)
    edges = np.linspace(low, max(high, low + 0.05), _BINS + 1)
    counted = [np.histogram(part, edges)[0].tolist() for part in (scores[relevant], scores[~relevant])]
    return Histogram(of, tuple(edges.round(6).tolist()), *map(tuple, counted))
