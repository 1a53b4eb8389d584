"""What follows for a retrain from the judgments that people gave: which pairs are mined, scored and learned directly.

The rules and their reasons stand in docs/retrain.md ("What follows from the data").
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from keydistill.distillation.assistant import Verdicts
from keydistill.distillation.evaluation import MIN_JUDGED_PAIRS, labels_are_lists
from keydistill.distillation.pairs import MiningRecipe
from keydistill.distillation.retrain.recipe import RetrainInputs

# Most keyphrases that get a list of items.
_MOST_LISTS = 500
# Strata of a retrain whose assistant compares items: near misses are hard negatives, and are not scored.
_UNSCORED = ("student_top", "near_miss")


def by_people(judgments: pa.Table | None) -> pa.Table | None:
    """The judgments that name no prompt: people gave them; None without any."""
    if judgments is None:
        return None
    given = judgments.filter(judgments["prompt_version"].is_null())
    return given if len(given) else None


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
    # The nearest four keyphrases of a title are too often right to be hard negatives; the next ones teach most.
    return replace(recipe, student_top=4, near_miss=4, random=0, depth=60, lists=recipe.lists or lists)


def scored_pairs(mined: pa.Table, inputs: RetrainInputs) -> pa.Table:
    """The mined pairs that the assistant is to score: all, or where lists were judged what is like these."""
    if not judged_in_lists(inputs):
        return mined
    return mined.filter(pc.invert(pc.is_in(mined["stratum"], value_set=pa.array(_UNSCORED))))


def taught_directly(judgments: pa.Table, verdicts: Verdicts) -> pa.Table | None:
    """The judgments that the student learns itself, besides what the assistant makes of them; None without any.

    What people say counts for itself. What the judge says of single pairs the assistant says of all pairs, and without
    most of its errors, if its approvals can be trusted; otherwise the student learns that directly, too.
    """
    return by_people(judgments) if verdicts.approved else judgments
