"""Tables of signals and scores as numbered pairs, ready for a student's training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.distillation.assistant import APPROVED, REJECTED, Verdicts
from keydistill.distillation.pairs import first_per_group, places_within
from keydistill.distillation.signals import free_fields
from keydistill.distillation.student.data import Pairs, StudentData
from keydistill.distillation.student.metrics import groups_that_differ

# The probability from which on a pair is called relevant.
RELEVANT = 0.5


def student_data(
    items: pa.Table,
    *,
    clicks: pa.Table | None = None,
    search_relevance: pa.Table | None = None,
    judgments: pa.Table | None = None,
    assistant: pa.Table | None = None,
    near_misses: pa.Table | None = None,
    verdicts: Verdicts | None = None,
    held_out: float = 0.05,
    searched_per_item: int = 4,
    seed: int = 0,
) -> StudentData:
    """The data of a student's training: items and keyphrases by number, with some items held out.

    Pairs of unknown items are left out: there is no title to learn from. An item is known by its site and id.

    Args:
        items: Table by `keydistill.distillation.signals.ITEMS`, with its free fields in further columns.
        clicks: Table by `keydistill.distillation.signals.CORRECTED_CLICKS`; the positive ones are used.
        search_relevance: Table by `keydistill.distillation.signals.SEARCH_RELEVANCE`; scores are compared within
            their keyphrase, as percentiles; where most pairs have none, whether the pair passed is learned instead.
        judgments: Table by `keydistill.distillation.signals.JUDGMENTS`, learned directly: the probability, otherwise
            the grade or the label. Those with the label yes are positives besides.
        assistant: Table by `keydistill.distillation.pairs.SCORE_SCHEMA`: pairs with the assistant's scores.
        near_misses: Table of `item_id`, `keyphrase` and `site`: pairs that are near, and that nobody calls relevant.
            They are hard negatives, except those that a trusted assistant has scored: for these its score decides.
        verdicts: Verdicts of the assistant that are trusted; None trusts all of them.
        held_out: Share of items to hold out, or of keyphrases where there are lists of items for these: their scores by
            the assistant decide when training stops, or their judgments where its approvals are not trusted and where
            there are no scores. Nothing of theirs is learned.
        searched_per_item: Number of pairs per item of the search engine's opinion, chosen at random: it has an opinion
            on so many that they would drown everything else.
        seed: Seed of the choice of items and pairs.
    """
    named_tables = {
        "clicks": clicks,
        "search_relevance": search_relevance,
        "judgments": judgments,
        "judged_yes": None if judgments is None else _judged_yes(judgments),
        "assistant": assistant,
        "near_misses": near_misses,
    }
    tables = {name: table for name, table in named_tables.items() if table is not None and len(table)}
    texts = pc.unique(
        pa.chunked_array([chunk for table in tables.values() for chunk in table["keyphrase"].chunks], pa.string())
    )
    if "clicks" in tables:
        tables["clicks"] = tables["clicks"].filter(tables["clicks"]["positive"])

    def numbered(name: str, values: pa.ChunkedArray | None) -> Pairs | None:
        """The pairs of a table whose item is known, and whose value is."""
        if name not in tables:
            return None
        item = _numbers(_places(tables[name], items))
        text = _numbers(pc.index_in(tables[name]["keyphrase"], value_set=texts))
        scores = np.empty(0, np.float32) if values is None else values.to_numpy().astype(np.float32)
        is_used = (item >= 0) & (~np.isnan(scores) if len(scores) else True)
        return Pairs(item[is_used], text[is_used], scores[is_used] if len(scores) else scores)

    opinions = _searched(tables.get("search_relevance"))
    searched = None if opinions is None else numbered("search_relevance", opinions)
    data = StudentData(
        titles=items["title"].to_pylist(),
        categories=items["category_path"].to_pylist(),
        texts=texts.to_pylist(),
        clicks=numbered("clicks", None),
        judged_yes=numbered("judged_yes", None),
        search_relevance=None if searched is None else _few_per_item(searched, searched_per_item, seed),
        judgments=numbered("judgments", _judged(tables.get("judgments"))),
        assistant=numbered("assistant", tables["assistant"]["score"] if "assistant" in tables else None),
        fields=items.select(names).to_pylist() if (names := free_fields(items)) else None,
    )
    verdicts = verdicts or Verdicts()
    data = _with_verdicts(data, numbered("near_misses", None), verdicts)
    by_assistant = data.assistant is not None and (verdicts.approved or data.judgments is None)
    return _with_held_out(data, data.assistant if by_assistant else data.judgments, held_out, seed)


def _few_per_item(pairs: Pairs, count: int, seed: int) -> Pairs:
    order = np.random.default_rng(seed).permutation(len(pairs))
    return pairs.chosen(np.sort(order[first_per_group(pairs.items[order], count)]))


def _places(table: pa.Table, items: pa.Table) -> pa.ChunkedArray:
    """Row in `items` of the item of each pair, null where there is none.

    Sites may have equal ids: of these the pair's own site decides; the first one counts where the pair names no site,
    or the items none.
    """
    anywhere = pc.index_in(table["item_id"], value_set=items["item_id"].combine_chunks())
    if "site" not in table.column_names or "site" not in items.column_names:
        return anywhere
    # Null where the site is.
    of_pair, of_item = (pc.binary_join_element_wise(each["site"], each["item_id"], "\n") for each in (table, items))
    return pc.coalesce(pc.index_in(of_pair, value_set=of_item.combine_chunks(), skip_nulls=True), anywhere)


def _numbers(places: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(places.cast(pa.int64()), -1).to_numpy())


def _searched(table: pa.Table | None) -> pa.ChunkedArray | None:
    """The search engine's scores as percentiles within their keyphrase; otherwise its verdicts; None without either.

    Verdicts are taken where most pairs have no score, or no score has another of its keyphrase to be compared with.
    Scores and verdicts do not mix: a batch would rank a verdict above nearly every percentile, for no reason.
    """
    if table is None:
        return None
    if 2 * table["score"].null_count <= len(table):
        percentiles = pa.array(_percentiles(table), pa.float32(), from_pandas=True)
        if percentiles.null_count < len(percentiles):
            return pa.chunked_array([percentiles])
    verdicts = table["passed"].cast(pa.float32())
    return verdicts if verdicts.null_count < len(verdicts) else None


def _percentiles(table: pa.Table) -> NDArray[np.float64]:
    """The rank of each score among the scores of its keyphrase and site, from 0 to 1; equal scores share the mean.

    A search engine's scores of two keyphrases are on two scales. Nan where there is no score, or no other to compare.

    >>> table = pa.table({"keyphrase": ["a", "a", "a", "b", "b", "c"], "score": [9.0, 30.0, 20.0, 0.1, 0.3, 5.0]})
    >>> _percentiles(table).tolist()
    [0.0, 1.0, 0.5, 0.0, 1.0, nan]
    """
    scores = pc.fill_null(table["score"].cast(pa.float64()), np.nan).to_numpy()
    group = np.zeros(len(table), dtype=np.int64)
    for name in ("site", "keyphrase"):
        if name in table.column_names:
            values = pc.fill_null(table[name].cast(pa.string()), "")
            _, codes = np.unique(values.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
            _, group = np.unique(group * (codes.max(initial=0) + 1) + codes, return_inverse=True)
    percentiles = np.full(len(table), np.nan)
    scored = np.flatnonzero(~np.isnan(scores))
    order = scored[np.lexsort((scores[scored], group[scored]))]
    if not len(order):
        return percentiles
    by_group, by_score = group[order], scores[order]
    place = places_within(by_group)
    tie = np.cumsum(np.append(True, (by_group[1:] != by_group[:-1]) | (by_score[1:] != by_score[:-1]))) - 1
    rank = (np.bincount(tie, place) / np.bincount(tie))[tie]
    others = np.bincount(by_group)[by_group] - 1
    percentiles[order] = np.divide(rank, others, out=np.full(len(order), np.nan), where=others > 0)
    return percentiles


def _judged(table: pa.Table | None) -> pa.ChunkedArray | None:
    if table is None:
        return None
    graded = pc.divide(table["grade"].cast(pa.float32()), pa.scalar(3, pa.float32()))
    return pc.coalesce(table["probability"].cast(pa.float32()), graded, table["label"].cast(pa.float32()))


def _judged_yes(judgments: pa.Table) -> pa.Table:
    """The pairs that every judgment of theirs calls relevant, each once."""
    keys = ["site", "item_id", "keyphrase"]
    agreed = judgments.group_by(keys, use_threads=False).aggregate([("label", "min")])
    return agreed.filter(agreed["label_min"]).select(keys)


def _with_verdicts(data: StudentData, near_misses: Pairs | None, verdicts: Verdicts) -> StudentData:
    """The data with what verdicts add: positives, hard negatives, and pairs that are no negatives."""
    scored = data.assistant
    with_verdict = [data.judgments]
    if scored is not None and verdicts.approved:
        approved = scored.chosen(scored.scores >= APPROVED).positives()
        if data.judged_yes is not None:
            # What was judged relevant is a positive already.
            approved = approved.chosen(~_among(approved, data.judged_yes, len(data.texts)))
        data = replace(data, approved=approved)
        with_verdict.append(scored)
    if scored is not None and verdicts.rejected:
        data = replace(data, rejected=scored.chosen(scored.scores <= REJECTED).positives())
    relevant = [pairs.chosen(pairs.scores >= RELEVANT).positives() for pairs in with_verdict if pairs is not None]
    if relevant:
        data = replace(data, relevant=_together(relevant))
    if near_misses is None:
        return data
    # What is known to be right is no miss, nor what a trusted assistant scored and did not reject.
    settled = data.known()
    if scored is not None and verdicts.rejected:
        settled = np.concatenate([settled, np.stack([scored.items, scored.keyphrases], axis=1)])
    missed = ~np.isin(
        near_misses.items * len(data.texts) + near_misses.keyphrases, settled[:, 0] * len(data.texts) + settled[:, 1]
    )
    parts = [near_misses.chosen(missed)] if data.rejected is None else [data.rejected, near_misses.chosen(missed)]
    return replace(data, rejected=_together(parts))


def _among(pairs: Pairs, others: Pairs, texts: int) -> NDArray[np.bool_]:
    """Whether each pair is one of the others."""
    return np.isin(pairs.items * texts + pairs.keyphrases, others.items * texts + others.keyphrases)


def _together(parts: list[Pairs]) -> Pairs:
    return Pairs(np.concatenate([part.items for part in parts]), np.concatenate([part.keyphrases for part in parts]))


def _with_held_out(data: StudentData, measured: Pairs | None, share: float, seed: int) -> StudentData:
    """The data without some of the lists of pairs that can be measured by: those of an item, or of a keyphrase."""
    if measured is None or not len(measured) or share <= 0:
        return data
    side = "keyphrases" if measured.listed_by_keyphrase() else "items"
    names, list_of = np.unique(getattr(measured, side), return_inverse=True)
    measurable = names[groups_that_differ(list_of, measured.scores)]
    if not len(measurable):
        return data
    some = np.random.default_rng(seed).permutation(measurable)[: max(1, round(share * len(measurable)))]

    def divided(pairs: Pairs) -> tuple[Pairs, Pairs]:
        is_held_out = np.isin(getattr(pairs, side), some)
        return pairs.chosen(~is_held_out), pairs.chosen(is_held_out)

    learned: dict[str, Any] = {
        name: divided(pairs)[0] for name in (*data.tasks(), "rejected") if (pairs := getattr(data, name)) is not None
    }
    return replace(data, **learned, held_out=divided(measured)[1])
