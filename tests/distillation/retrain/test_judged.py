"""What follows for a retrain from the judgments that people gave."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from keydistill.distillation.assistant import Verdicts
from keydistill.distillation.pairs import MINED_SCHEMA, STRATA, MiningRecipe
from keydistill.distillation.retrain import RetrainInputs
from keydistill.distillation.retrain.judged import judged_in_lists, mining_of, scored_pairs, taught_directly
from keydistill.distillation.signals import CLICKS, ITEMS, JUDGMENTS
from tests.support.present import present


def judged(keyphrases: int, items: int, prompt: str | None = None) -> pa.Table:
    """Judgments of lists of `items` items each, no item twice."""
    rows: list[dict[str, Any]] = [
        {
            "item_id": f"{keyphrase}-{item}",
            "keyphrase": f"keyphrase {keyphrase}",
            "label": item == 0,
            "prompt_version": prompt,
        }
        for keyphrase in range(keyphrases)
        for item in range(items)
    ]
    return pa.Table.from_pylist(rows, schema=JUDGMENTS)


def inputs_of(judgments: pa.Table | None) -> RetrainInputs:
    return RetrainInputs(ITEMS.empty_table(), pa.table({"keyphrase": ["a"]}), judgments=judgments)


@pytest.mark.parametrize(
    ("judgments", "are_lists"),
    [
        (None, False),
        (judged(10, 4), True),
        # Too few pairs, single pairs, and what a language model said.
        (judged(5, 4), False),
        (judged(40, 1), False),
        (judged(10, 4, prompt="v1"), False),
    ],
)
def test_lists_are_mined_where_people_judged_lists(judgments: pa.Table | None, are_lists: bool) -> None:
    inputs = inputs_of(judgments)
    assert judged_in_lists(inputs) is are_lists
    recipe = MiningRecipe(seed=7)
    mining = mining_of(recipe, inputs)
    assert mining == (
        replace(recipe, student_top=4, random=0, near_miss=4, depth=60, lists=10) if are_lists else recipe
    )


def test_a_click_log_compares_keyphrases_and_lists_of_one_item_are_no_lists_of_items() -> None:
    inputs = inputs_of(judged(10, 4))
    assert not judged_in_lists(replace(inputs, clicks=CLICKS.empty_table()))
    of_one_item = present(inputs.judgments)
    of_one_item = of_one_item.rename_columns(["keyphrase", "item_id", *of_one_item.column_names[2:]]).select(
        of_one_item.column_names
    )
    assert not judged_in_lists(inputs_of(of_one_item))


def test_the_number_of_lists_is_limited_and_can_be_chosen() -> None:
    assert mining_of(MiningRecipe(), inputs_of(judged(600, 2))).lists == 500
    assert mining_of(MiningRecipe(lists=3), inputs_of(judged(600, 2))).lists == 3


def test_near_misses_of_lists_are_not_scored() -> None:
    rows = [{"item_id": "1", "keyphrase": name, "title": "t", "stratum": name} for name in STRATA]
    mined = pa.Table.from_pylist(rows, schema=MINED_SCHEMA)
    assert scored_pairs(mined, inputs_of(None)).equals(mined)
    scored = scored_pairs(mined, inputs_of(judged(10, 4)))["stratum"].to_pylist()
    assert scored == ["listed", "clicked", "disagreement", "random"]


def test_the_judge_teaches_through_an_assistant_that_can_be_trusted() -> None:
    of_people, of_judge = judged(2, 2), judged(3, 1, prompt="v1")
    both = pa.concat_tables([of_people, of_judge])
    assert present(taught_directly(both, Verdicts())).equals(of_people)
    assert present(taught_directly(both, Verdicts(approved=False))).equals(both)
    assert taught_directly(of_judge, Verdicts()) is None
