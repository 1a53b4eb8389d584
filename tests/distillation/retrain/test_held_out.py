"""What is held out of a retrain, who decides between the students, and what is clearly worse."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from keydistill.distillation.evaluation import Difference, Estimate, Evaluation, Support
from keydistill.distillation.evaluation.estimates import Comparison
from keydistill.distillation.retrain import RetrainInputs, why_worse
from keydistill.distillation.retrain.division import Division, held_out_names
from keydistill.distillation.retrain.referee import Referee
from keydistill.distillation.retrain.verdict import comparison_of
from keydistill.distillation.signals import CLICKS, ITEMS, JUDGMENTS
from tests.support.present import present

ITEM_IDS = [f"item {number}" for number in range(200)]
KEYPHRASES = [f"keyphrase {number}" for number in range(200)]


def inputs_of(ids: list[str], keyphrases: list[str], judgments: pa.Table | None = None) -> RetrainInputs:
    return RetrainInputs(
        items=pa.Table.from_pylist([{"item_id": each, "title": each} for each in ids], schema=ITEMS),
        inventory=pa.table({"keyphrase": pa.chunked_array([keyphrases], pa.string())}),
        judgments=judgments,
    )


def judgments_of(prompt: str | None, pairs: list[tuple[str, str]]) -> pa.Table:
    rows = [
        {"item_id": item, "keyphrase": keyphrase, "label": True, "prompt_version": prompt} for item, keyphrase in pairs
    ]
    return pa.Table.from_pylist(rows, schema=JUDGMENTS)


def no_assistant() -> Any:
    raise AssertionError("the assistant is not needed")


def test_the_same_are_held_out_whatever_comes_and_goes() -> None:
    def held_out(names: list[str], share: float = 0.1) -> set[str]:
        return set(held_out_names([pa.chunked_array([names])], share).to_pylist())

    assert 10 < len(held_out(ITEM_IDS)) < 30
    assert held_out(ITEM_IDS[::-1]) == held_out(ITEM_IDS)
    assert held_out([*ITEM_IDS[50:], "another"]) - {"another"} == held_out(ITEM_IDS) & set(ITEM_IDS[50:])
    assert held_out(ITEM_IDS) < held_out(ITEM_IDS, 0.2)
    # Some of a few, and never all.
    assert len(held_out(["a", "b"], 1e-9)) == 1
    assert held_out(["a"]) == held_out([]) == held_out(["a", "b"], 1.0) == held_out(ITEM_IDS, 0) == set()


def test_nothing_of_a_held_out_item_or_keyphrase_is_learned() -> None:
    by_people = judgments_of(None, [(item, KEYPHRASES[0]) for item in ITEM_IDS])
    by_judge = judgments_of("prompt-1", [(ITEM_IDS[0], keyphrase) for keyphrase in KEYPHRASES])
    division = Division.of(inputs_of(ITEM_IDS, KEYPHRASES, pa.concat_tables([by_people, by_judge])), 0.1)
    held_out_items = set(division.items["item_id"].to_pylist())
    held_out_keyphrases = set(KEYPHRASES) - set(division.learned.inventory["keyphrase"].to_pylist())
    assert (len(held_out_items), len(held_out_keyphrases)) == (division.held_out_items, division.held_out_keyphrases)
    assert set(division.learned.items["item_id"].to_pylist()) == set(ITEM_IDS) - held_out_items
    judged = present(division.learned.judgments)
    assert not held_out_items & set(judged["item_id"].to_pylist())
    assert not held_out_keyphrases & set(judged["keyphrase"].to_pylist())
    # What names a prompt was judged by no person.
    assert set(present(division.judgments)["item_id"].to_pylist()) == held_out_items


def test_tiny_signals_survive() -> None:
    one = Division.of(inputs_of(["a"], ["b"]), 0.5)
    assert (len(one.learned.items), len(one.items), one.held_out_items, one.held_out_keyphrases) == (1, 1, 0, 0)
    clicks = pa.Table.from_pylist([{"item_id": "a", "keyphrase": "b", "impressions": 1, "clicks": 1}], schema=CLICKS)
    two = Division.of(RetrainInputs(**{**_fields(inputs_of(["a", "c"], ["b", "d"])), "clicks": clicks}), 1e-9)
    assert (len(two.learned.items), len(two.items), len(two.learned.inventory)) == (1, 1, 1)
    # Clicks of which all are held out are no clicks.
    assert two.learned.clicks is None or len(two.learned.clicks) == 1


def _fields(inputs: RetrainInputs) -> dict[str, Any]:
    return {name: getattr(inputs, name) for name in inputs.__slots__}


def test_people_decide_before_the_judge_and_the_judge_before_the_assistant() -> None:
    items = inputs_of(ITEM_IDS[:5], KEYPHRASES).items
    many = [(item, keyphrase) for item in ITEM_IDS[:3] for keyphrase in KEYPHRASES[:10]]
    people, judged, few = judgments_of(None, many), judgments_of("prompt-1", many[:-1] + many[:1]), many[:29]

    def referee(by_people: pa.Table | None, of_lists: pa.Table, assistant: Any = no_assistant) -> Referee:
        return Referee.of(items, by_people, of_lists, "gpt", assistant)

    first = referee(people, judged)
    assert (first.name, first.judge.info.kind, len(first.items)) == ("people", "labels", 3)
    assert first.labels is people
    second = referee(judgments_of(None, few), judged)
    assert (second.name, second.judge.info.name, second.labels) == ("the judge gpt", "gpt", None)

    class Assistant:
        version = "assistant-1"

    third = referee(None, judgments_of("prompt-1", few), Assistant)
    assert (third.name, third.judge.info.kind, len(third.items)) == ("the assistant", "assistant", 5)


def evaluation_of(value: float, support: Support) -> Evaluation:
    """An evaluation of one measure."""
    values: Mapping[str, Any] = {
        "cutoffs": (10,),
        "estimates": {"relevant@10": Estimate(value), "judged@10": Estimate(1.0)},
        "supports": {"relevant@10": support},
    }
    return Evaluation(**{name: values.get(name) for name in Evaluation.__slots__})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interval", "support", "is_worse"),
    [
        ((-0.3, -0.01), Support(300, 30, 200), True),
        ((-0.3, 0.0), Support(300, 30, 200), False),
        ((0.01, 0.3), Support(300, 30, 200), False),
        ((-0.3, -0.01), Support(29, 29, 29), False),
        ((-0.3, -0.01), Support(90, 9, 90), False),
    ],
)
def test_clearly_worse_is_an_interval_below_zero_by_enough_pairs_and_items(
    interval: tuple[float, float], support: Support, is_worse: bool
) -> None:
    gap = Difference(sum(interval) / 2, *interval, 0.9)
    figures = comparison_of(
        evaluation_of(0.4, support), evaluation_of(0.5, support), Comparison("a", "b", {"relevant@10": gap})
    )
    assert figures["clearly_worse"] is is_worse
    assert (why_worse({"comparison": figures, "judged_by": "people"}) is not None) is is_worse


def test_nothing_known_is_nothing_worse() -> None:
    evaluation = evaluation_of(0.4, Support(300, 30, 200))
    assert comparison_of(evaluation, evaluation, Comparison("a", "b", {})) == {}
    assert why_worse({"comparison": {}, "judged_by": "people"}) is None
    # As retrains before there was a comparison kept it.
    assert why_worse({}) is None
