"""What follows for a retrain from the judgments that people gave: which pairs are mined, scored and learned directly.

The rules and their reasons stand in docs/retrain.md ("What follows from the data").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keydistill.distillation.assistant import AssistantRecipe, Verdicts, nothing_to_teach
from keydistill.distillation.evaluation import MIN_JUDGED_PAIRS, labels_are_lists
from keydistill.distillation.pairs import MiningRecipe, word_overlap
from keydistill.distillation.retrain.recipe import RetrainInputs
from keydistill.distillation.signals import JUDGMENTS

# Most keyphrases that get a list of items.
_MOST_LISTS = 500
# Pairs that an assistant learns before it learns what people judged.
_WARM_UP_PAIRS = 4_000
# Strata of a retrain whose assistant compares items: what compares keyphrases may be judged, and is not scored.
_UNSCORED = ("student_top", "near_miss")


def by_people(judgments: pa.Table | None) -> pa.Table | None:
    """The judgments that name no prompt: people gave them; None without any."""
    if judgments is None:
        return None
    given = judgments.filter(judgments["prompt_version"].is_null())
    return given if len(given) else None


def judged_yes_of(judgments: pa.Table | None) -> pa.Table | None:
    """The judgments that call their pair relevant; None without any."""
    return None if judgments is None else judgments.filter(judgments["label"])


def without_pairs(table: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose item and keyphrase do not stand together in `others`."""
    pairs, gone = (pc.binary_join_element_wise(rows["item_id"], rows["keyphrase"], "\n") for rows in (table, others))
    return table.filter(pc.invert(pc.is_in(pairs, value_set=gone.combine_chunks())))


def together(earlier: pa.Table | None, of_judge: pa.Table) -> pa.Table:
    """Earlier judgments and those of the judge, each pair once: what people said counts, then what the judge says."""
    given = by_people(earlier)
    if given is not None:
        of_judge = without_pairs(of_judge, given)
    if earlier is None:
        return of_judge.select(JUDGMENTS.names)
    return pa.concat_tables([without_pairs(earlier, of_judge), of_judge]).select(JUDGMENTS.names)


def judged_in_lists(inputs: RetrainInputs) -> bool:
    """Whether people judged lists of items for keyphrases, and there is no click log that compares keyphrases."""
    given = by_people(inputs.judgments)
    if given is None or inputs.clicks is not None or len(given) < MIN_JUDGED_PAIRS:
        return False
    return labels_are_lists(given["keyphrase"], given["item_id"])


def mining_of(recipe: MiningRecipe, inputs: RetrainInputs) -> MiningRecipe:
    """The recipe of the mining, with lists of items for as many keyphrases as were judged where lists were judged."""
    given = by_people(inputs.judgments)
    if given is None or not judged_in_lists(inputs):
        return recipe
    lists = min(_MOST_LISTS, len(pc.unique(given["keyphrase"])))
    # A judge is asked about the nearest keyphrases and about the next ones; the student learns neither unjudged.
    return replace(recipe, student_top=4, near_miss=4, random=0, depth=60, lists=recipe.lists or lists)


def assistant_of(recipe: AssistantRecipe, inputs: RetrainInputs) -> AssistantRecipe:
    """The recipe of the assistant; where lists were judged, their order is measured on as many as there are."""
    return replace(recipe, folds=0) if recipe.folds is None and judged_in_lists(inputs) else recipe


def scored_pairs(mined: pa.Table, inputs: RetrainInputs) -> pa.Table:
    """The mined pairs that the assistant is to score: all, or where lists were judged what is like these."""
    if not judged_in_lists(inputs):
        return mined
    return mined.filter(pc.invert(pc.is_in(mined["stratum"], value_set=pa.array(_UNSCORED))))


def warm_up_of(mined: pa.Table, inputs: RetrainInputs, seed: int) -> pa.Table | None:
    """Pairs that an assistant of few judged keyphrases learns before it learns these; None where none are needed.

    They are the search engine's opinions where there are any, and otherwise the word overlap of mined pairs.

    Returns:
        Table of `item_id`, `keyphrase`, `site`, `label` and `probability`.
    """
    if not judged_in_lists(inputs):
        return None
    searched = inputs.search_relevance
    if searched is not None and searched["passed"].null_count < len(searched):
        known = searched.filter(searched["passed"].is_valid())
        probabilities = known["passed"].cast(pa.float32())
    else:
        known, probabilities = mined, pa.chunked_array([pa.array(word_overlap(mined))])
    some = np.random.default_rng(seed).permutation(len(known))[:_WARM_UP_PAIRS]
    pairs = known.select(["item_id", "keyphrase", "site"]).append_column("probability", probabilities)
    return pairs.append_column("label", pc.greater_equal(pairs["probability"], 0.5)).take(pa.array(np.sort(some)))


def without_order(metrics: Mapping[str, Any], inputs: RetrainInputs) -> str | None:
    """Why the student learns nothing of the assistant's scores: their order of items has nothing to teach.

    Where lists were judged, that order is what they are to teach. Elsewhere they compare keyphrases; None there, and
    where the order is clearly better than chance and than that of the student's base.
    """
    return nothing_to_teach(metrics) if judged_in_lists(inputs) else None


def taught_directly(judgments: pa.Table, verdicts: Verdicts) -> pa.Table | None:
    """The judgments that the student learns itself, besides what the assistant makes of them; None without any.

    What people say counts for itself. What the judge says of single pairs the assistant says of all pairs, and without
    most of its errors, if its approvals can be trusted; otherwise the student learns that directly, too.
    """
    return by_people(judgments) if verdicts.approved else judgments
