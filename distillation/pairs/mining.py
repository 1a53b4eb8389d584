"""Mining: choosing the pairs that are worth an opinion, of millions times millions those that teach a student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.distillation.evaluation import Corpus, embed_items_of, sample_items
from keydistill.distillation.pairs.groups import first_per_group
from keydistill.distillation.pairs.pairs import PAIR_SCHEMA
from keydistill.encoders import Assistant, Student, nearest
from keydistill.progress import NO_PROGRESS, Progress

# The strata; a pair that several of them choose belongs to the first one.
STRATA = ("listed", "student_top", "near_miss", "clicked", "disagreement", "random")
MINED_SCHEMA = PAIR_SCHEMA.append(pa.field("stratum", pa.string(), nullable=False))

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MiningRecipe:
    """The number of pairs to mine in each stratum; all but `items` and the two of lists are per item.

    Attributes:
        items: Number of items to sample; None takes all.
        student_top: Number of the student's nearest keyphrases: what it would recommend now, right or wrong.
        near_miss: Number of keyphrases of the item's own leaf category behind those, down to rank `depth`: the
            closer, the more likely. They are from all categories where the item or the inventory has none.
        clicked: Number of clicked pairs.
        disagreement: Number of pairs on which clicks or search and the assistant disagree, the strongest first.
        random: Number of random keyphrases: they are mostly irrelevant, and say where zero is.
        lists: Number of keyphrases that get a list of items, as a search engine shows one: a sample of those that the
            student recommends to some item. The other strata compare the keyphrases of an item; a list compares items,
            and lists together say which keyphrases are easily satisfied.
        listed: Number of nearest items in each list.
        depth: Last rank of a near miss.
        margin: Largest share of the score of an item's least known positive that the student may give a near miss; a
            nearer one is likely right, and only nobody said so (NV-Retriever, arXiv 2407.15831, "TopK-PercPos").
            None takes them all.
        seed: Seed of all samples.
    """

    items: int | None = None
    student_top: int = 10
    near_miss: int = 6
    clicked: int = 4
    disagreement: int = 4
    random: int = 2
    lists: int = 0
    listed: int = 8
    depth: int = 200
    margin: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Mined:
    """Mined pairs, by `MINED_SCHEMA`, no pair twice; and how many each stratum gave."""

    pairs: pa.Table
    strata: Mapping[str, int]


def mine(
    student: Student,
    items: pa.Table,
    inventory: pa.Table,
    recipe: MiningRecipe | None = None,
    *,
    clicks: pa.Table | None = None,
    judged_yes: pa.Table | None = None,
    search_relevance: pa.Table | None = None,
    assistant: Assistant | None = None,
    progress: Progress = NO_PROGRESS,
) -> Mined:
    """Choose pairs of sampled items.

    Args:
        student: The live student, since what it finds needs an opinion most.
        items: Table by `keydistill.distillation.signals.ITEMS`.
        inventory: Table of `keyphrase`, normalised, and optionally `category_ids` (with all ancestors) and `site`.
        recipe: Number of pairs of each stratum; None is the default recipe.
        clicks: Table by `keydistill.distillation.signals.CORRECTED_CLICKS`.
        judged_yes: Table of pairs that were judged relevant: with the clicked ones, the positives of the margin.
        search_relevance: Table by `keydistill.distillation.signals.SEARCH_RELEVANCE`.
        assistant: The assistant in use; without it no pairs of the stratum "disagreement" are mined.
        progress: Advanced by the number of texts embedded and pairs scored.

    Raises:
        InputError: A column is missing, or there are no items or keyphrases.
    """
    recipe = recipe or MiningRecipe()
    rng = np.random.default_rng(recipe.seed)
    items = sample_items(items, recipe.items, recipe.seed)
    by_category = "category_ids" in inventory.column_names
    corpus = Corpus(items, inventory, match_category="leaf" if by_category else "none")
    anywhere = Corpus(items, inventory) if by_category else corpus
    item_vectors = embed_items_of(student, corpus, progress)
    vectors = student.embed_keyphrases(corpus.texts, progress)[corpus.text_of]

    top, _ = nearest(item_vectors, vectors, recipe.student_top, anywhere.allowed if anywhere.is_filtered else None)
    ranked, scores = nearest(item_vectors, vectors, recipe.depth, corpus.allowed if corpus.is_filtered else None)
    positive = None if clicks is None else clicks.filter(clicks["positive"])
    if recipe.margin is not None:
        known = np.concatenate([_known(corpus, positive), _known(corpus, judged_yes)])
        least = _least_positive(corpus, known, item_vectors, vectors)
        ranked = np.where(scores > recipe.margin * least[:, None], -1, ranked)
    keys_of_stratum = {
        "student_top": _keys(corpus, top),
        "near_miss": _keys(corpus, _near_misses(ranked, top, recipe.near_miss, rng)),
        "clicked": _sampled(_known(corpus, positive), len(corpus.texts), recipe.clicked, rng),
        "disagreement": _disagreements(corpus, positive, search_relevance, assistant, recipe, progress),
        "random": _random(anywhere, recipe.random, rng),
    }
    if recipe.lists:
        # Drawn last, so that the other samples are those of a recipe without lists.
        keys_of_stratum["listed"] = _listed(anywhere, item_vectors, vectors, top, recipe, rng)
    return _table(corpus, keys_of_stratum)


def _keys(corpus: Corpus, rows: NDArray[np.int64]) -> Keys:
    """Keys of the pairs of each item with some inventory rows, shape (n, k); -1 is no row."""
    numbers = np.repeat(np.arange(len(rows))[:, None], rows.shape[1], axis=1)
    present = rows >= 0
    return corpus.keys(numbers[present], corpus.text_of[rows[present]])


def _least_positive(
    corpus: Corpus, known: Keys, item_vectors: NDArray[np.float32], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The least score of each item's known positives; infinite where it has none."""
    of_item, of_text = known // len(corpus.texts), known % len(corpus.texts)
    row_of = np.full(len(corpus.texts), -1, dtype=np.int64)
    row_of[corpus.text_of[::-1]] = np.arange(len(corpus))[::-1]
    inside = row_of[of_text] >= 0
    of_item, of_text = of_item[inside], of_text[inside]
    least = np.full(len(corpus.item_ids), np.inf, dtype=np.float32)
    np.minimum.at(least, of_item, np.einsum("pd,pd->p", item_vectors[of_item], vectors[row_of[of_text]]))
    return least


def _near_misses(
    ranked: NDArray[np.int64], top: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Some of each item's `ranked` keyphrases that are not among its `top`; a rank r has a weight of 1 / r."""
    open_to_choice = ranked >= 0
    for column in range(top.shape[1]):
        open_to_choice &= ranked != top[:, column : column + 1]
    # The largest of log(u) / weight is a weighted sample without replacement (Efraimidis and Spirakis, IPL 2006).
    ranks = np.cumsum(open_to_choice, axis=1).clip(min=1)
    draw = np.where(open_to_choice, np.log(rng.random(ranked.shape)) * ranks, -np.inf)
    places = np.argsort(-draw, axis=1)[:, :count]
    rows = np.where(np.isneginf(np.take_along_axis(draw, places, 1)), -1, np.take_along_axis(ranked, places, 1))
    return np.asarray(rows, dtype=np.int64)


def _listed(
    corpus: Corpus,
    item_vectors: NDArray[np.float32],
    vectors: NDArray[np.float32],
    top: NDArray[np.int64],
    recipe: MiningRecipe,
    rng: np.random.Generator,
) -> Keys:
    """Keys of the nearest items of some inventory rows that the student recommends."""
    rows = rng.permutation(np.unique(top[top >= 0]))[: recipe.lists]
    items, _ = nearest(vectors[rows], item_vectors, recipe.listed)
    present = items >= 0
    of_item, of_row = items[present], np.repeat(rows[:, None], items.shape[1], axis=1)[present]
    if corpus.is_filtered:
        allowed = np.array([corpus.allowed(item, item + 1)[0, row] for item, row in zip(of_item, of_row, strict=True)])
        of_item, of_row = of_item[allowed], of_row[allowed]
    return corpus.keys(of_item, corpus.text_of[of_row])


def _random(corpus: Corpus, count: int, rng: np.random.Generator) -> Keys:
    """Keys of random inventory rows that each item may get."""
    rows = rng.integers(0, len(corpus), (len(corpus.item_ids), count))
    if corpus.is_filtered:
        for item in range(len(rows)):
            allowed = np.flatnonzero(corpus.allowed(item, item + 1)[0])
            rows[item] = allowed[rng.integers(0, len(allowed), count)] if len(allowed) else -1
    return _keys(corpus, rows)


def _known(corpus: Corpus, table: pa.Table | None) -> Keys:
    return np.empty(0, dtype=np.int64) if table is None else corpus.pair_table(table).keys


def _sampled(keys: Keys, texts: int, count: int, rng: np.random.Generator) -> Keys:
    """At most `count` keys of each item, at random."""
    shuffled = rng.permutation(keys)
    return _first_per_item(shuffled, texts, count)


def _first_per_item(keys: Keys, texts: int, count: int) -> Keys:
    return keys[first_per_group(keys // texts, count)]


def _disagreements(
    corpus: Corpus,
    positive: pa.Table | None,
    search_relevance: pa.Table | None,
    assistant: Assistant | None,
    recipe: MiningRecipe,
    progress: Progress,
) -> Keys:
    """Keys of pairs on which a signal and the assistant disagree, the largest differences first."""
    if assistant is None or not recipe.disagreement:
        return np.empty(0, dtype=np.int64)
    signal_of: dict[int, float] = {}
    if search_relevance is not None:
        # A score alone says neither yes nor no.
        search_relevance = search_relevance.filter(pc.is_valid(search_relevance["passed"]))
        table = corpus.pair_table(search_relevance)
        passed = search_relevance["passed"].to_pylist()
        signal_of.update({int(key): float(passed[row]) for key, row in zip(table.keys, table.rows, strict=True)})
    # A click says more than the filter.
    signal_of.update(dict.fromkeys(_known(corpus, positive).tolist(), 1.0))
    if not signal_of:
        return np.empty(0, dtype=np.int64)
    keys = np.fromiter(signal_of, np.int64, len(signal_of))
    of_item, of_text = keys // len(corpus.texts), keys % len(corpus.texts)
    scores = assistant.score(
        [corpus.titles[item] for item in of_item],
        [corpus.texts[text] for text in of_text],
        [corpus.item_categories[item] for item in of_item],
        progress,
    )
    difference = np.abs(scores - np.fromiter(signal_of.values(), np.float32, len(signal_of)))
    strongest = np.argsort(-difference, kind="stable")
    strongest = strongest[difference[strongest] > 0.5]
    return _first_per_item(keys[strongest], len(corpus.texts), recipe.disagreement)


def _table(corpus: Corpus, keys_of_stratum: Mapping[str, Keys]) -> Mined:
    strata = [name for name in STRATA if name in keys_of_stratum]
    keys = np.concatenate([keys_of_stratum[name] for name in strata])
    stratum = np.repeat(np.arange(len(strata)), [len(keys_of_stratum[name]) for name in strata])
    unique, first = np.unique(keys, return_index=True)
    of_item, of_text, stratum = unique // len(corpus.texts), unique % len(corpus.texts), stratum[first]
    pairs = pa.table(
        {
            "item_id": pa.array(corpus.item_ids).take(of_item),
            "keyphrase": pa.array(corpus.texts).take(of_text),
            "site": corpus.sites.take(of_item),
            "title": pa.array(corpus.titles).take(of_item),
            "category_path": pa.array(corpus.item_categories, pa.string()).take(of_item),
            "stratum": pa.array(strata).take(stratum),
        },
        schema=MINED_SCHEMA,
    )
    counts = np.bincount(stratum, minlength=len(strata))
    return Mined(pairs, dict(zip(strata, counts.tolist(), strict=True)))
