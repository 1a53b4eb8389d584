"""What follows for a retrain from the judgments that people gave."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from keydistill.distillation.assistant import Verdicts
from keydistill.distillation.pairs import MINED_SCHEMA, STRATA, MiningRecipe
from keydistill.distillation.retrain import RetrainInputs
from keydistill.distillation.retrain.judged import (
    judged_in_lists,
    mining_of,
    scored_pairs,
    taught_directly,
    together,
    warm_up_of,
)
from keydistill.distillation.signals import CLICKS, ITEMS, JUDGMENTS, SEARCH_RELEVANCE
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


def test_an_assistant_of_judged_lists_begins_with_search_or_words() -> None:
    mined = pa.Table.from_pylist(
        [
            {"item_id": "1", "keyphrase": "red shoe", "title": "Red shoes", "stratum": "near_miss"},
            {"item_id": "1", "keyphrase": "blue lamp", "title": "Red shoes", "stratum": "near_miss"},
        ],
        schema=MINED_SCHEMA,
    )
    assert warm_up_of(mined, inputs_of(None), 0) is None
    inputs = inputs_of(judged(10, 4))
    words = present(warm_up_of(mined, inputs, 0)).to_pylist()
    assert [(row["keyphrase"], row["probability"], row["label"]) for row in words] == [
        ("red shoe", 1.0, True),
        ("blue lamp", 0.0, False),
    ]
    rows = [{"item_id": "2", "keyphrase": str(number), "passed": number % 2 == 0} for number in range(5_000)]
    rows[0]["passed"] = None
    searched = pa.Table.from_pylist(rows, schema=SEARCH_RELEVANCE)
    some = present(warm_up_of(mined, replace(inputs, search_relevance=searched), 0))
    assert len(some) == 4_000
    assert "0" not in some["keyphrase"].to_pylist()
    assert all((int(row["keyphrase"]) % 2 == 0) == row["label"] for row in some.to_pylist())
    # A search engine that says scores alone says neither yes nor no.
    scored = searched.set_column(4, SEARCH_RELEVANCE.field("passed"), pa.nulls(5_000, pa.bool_()))
    assert present(warm_up_of(mined, replace(inputs, search_relevance=scored), 0)).to_pylist() == words


def test_people_overrule_the_judge() -> None:
    of_people, of_judge = judged(2, 2), judged(3, 2, prompt="v1")
    both = together(of_people, of_judge)
    assert both.slice(0, 4).equals(of_people)
    assert both.slice(4)["keyphrase"].to_pylist() == ["keyphrase 2"] * 2
    assert together(of_judge, of_judge).num_rows == 6
    assert together(None, of_judge).equals(of_judge)
