from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keydistill.distillation.assistant import Verdicts
from keydistill.distillation.signals import ITEMS, JUDGMENTS, SEARCH_RELEVANCE
from keydistill.distillation.student import Pairs, student_data, train_student
from tests.support.present import present
from tests.support.student_data import recipe_of


def items_of(*rows: tuple[str, str, str | None]) -> pa.Table:
    """Items of (id, title, site)."""
    return pa.Table.from_pylist(
        [{"item_id": item_id, "title": title, "site": site} for item_id, title, site in rows], schema=ITEMS
    )


def scores_of(*rows: tuple[str, str, str | None, float]) -> pa.Table:
    """Scores of (item id, keyphrase, site, score)."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return pa.table(
        dict(zip(("item_id", "keyphrase", "site", "score"), columns, strict=True)),
        schema=pa.schema(
            [("item_id", pa.string()), ("keyphrase", pa.string()), ("site", pa.string()), ("score", pa.float32())]
        ),
    )


def test_a_pair_is_of_the_item_of_its_own_site() -> None:
    items = items_of(("1", "shoe of US", "US"), ("1", "Schuh", "DE"), ("2", "lamp", None), ("3", "cable", "US"))
    scores = scores_of(
        ("1", "a", "DE", 0.9),
        ("1", "b", "US", 0.9),
        ("1", "c", None, 0.9),
        ("2", "d", "DE", 0.9),
        ("3", "e", "FR", 0.9),
        ("4", "f", "US", 0.9),
    )
    data = student_data(items, assistant=scores, held_out=0)
    titles_and_texts = [
        (data.titles[item], data.texts[text])
        for item, text in zip(present(data.assistant).items, present(data.assistant).keyphrases, strict=True)
    ]
    assert titles_and_texts == [("Schuh", "a"), ("shoe of US", "b"), ("shoe of US", "c"), ("lamp", "d"), ("cable", "e")]


def test_scores_say_what_is_positive_and_what_is_a_hard_negative() -> None:
    items = items_of(("1", "shoe", None))
    scores = scores_of(*(("1", f"{score}", None, score) for score in (0.1, 0.2, 0.3, 0.5, 0.6, 0.9)))
    data = student_data(items, assistant=scores, held_out=0)

    def texts(name: str) -> set[str]:
        return {data.texts[text] for text in getattr(data, name).keyphrases}

    assert texts("rejected") == {"0.1", "0.2"}
    assert texts("relevant") == {"0.5", "0.6", "0.9"}
    assert texts("approved") == {"0.6", "0.9"}
    assert texts("assistant") == {"0.1", "0.2", "0.3", "0.5", "0.6", "0.9"}


def test_verdicts_that_are_not_to_be_trusted_are_scores_only() -> None:
    items = items_of(("1", "shoe", None))
    scores = scores_of(*(("1", f"{score}", None, score) for score in (0.1, 0.3, 0.9)))
    data = student_data(items, assistant=scores, verdicts=Verdicts(approved=False, rejected=False), held_out=0)
    assert len(present(data.assistant)) == 3
    assert data.approved is None
    assert data.rejected is None
    assert data.known().tolist() == []


def test_near_misses_are_hard_negatives_unless_a_trusted_assistant_was_asked() -> None:
    items = items_of(("1", "shoe", None))
    clicks = pa.table({"item_id": ["1"], "keyphrase": ["shoe"], "positive": [True]})
    judgments = pa.Table.from_pylist([{"item_id": "1", "keyphrase": "boot", "label": True}], schema=JUDGMENTS)
    near = pa.table(
        {"item_id": ["1", "1", "1", "1", "2"], "keyphrase": ["shoe", "boot", "shoe laces", "trainer", "lamp"]}
    )
    scores = scores_of(("1", "sandal", None, 0.1), ("1", "trainer", None, 0.3))
    tables = {"clicks": clicks, "judgments": judgments, "assistant": scores}

    def rejected(*, trusted: bool) -> list[str]:
        verdicts = Verdicts(rejected=trusted)
        data = student_data(items, **tables, near_misses=near, verdicts=verdicts, held_out=0)
        return [data.texts[text] for text in present(data.rejected).keyphrases]

    # What was clicked or judged right is no miss.
    assert rejected(trusted=False) == ["shoe laces", "trainer"]
    assert rejected(trusted=True) == ["sandal", "shoe laces"]


@pytest.mark.parametrize(("items", "keyphrases", "side"), [(20, 30, "items"), (30, 20, "keyphrases")])
def test_nothing_of_a_held_out_list_is_learned(items: int, keyphrases: int, side: str) -> None:
    listed = items_of(*((f"{number}", f"shoe {number}", None) for number in range(items)))
    scores = scores_of(
        *(
            (f"{number}", f"shoe {other}", None, (number * other % 11) / 10)
            for number in range(items)
            for other in range(keyphrases)
        )
    )
    search = pa.Table.from_pylist(
        [{"item_id": f"{number}", "keyphrase": f"shoe {number % 20}", "passed": True} for number in range(items)],
        schema=SEARCH_RELEVANCE,
    )
    data = student_data(listed, assistant=scores, search_relevance=search, held_out=0.2)
    held_out = np.unique(getattr(present(data.held_out), side))
    # Of 20 lists those of number 0 and 11 have one score alone, and measure nothing.
    assert len(held_out) == 4
    assert not np.isin([0, 11], held_out).any()
    assert len(present(data.held_out)) == 4 * 30
    for pairs in map(present, (data.assistant, data.approved, data.rejected, data.search_relevance)):
        assert len(pairs)
        assert not np.isin(getattr(pairs, side), held_out).any()


@pytest.mark.parametrize("trusted", [True, False])
def test_judgments_measure_where_the_assistant_is_not_trusted(trusted: bool) -> None:
    items = items_of(*((f"{number}", f"shoe {number}", None) for number in range(9)))
    judgments = pa.Table.from_pylist(
        [{"item_id": f"{number}", "keyphrase": "shoe", "label": number < 4, "judge": "a"} for number in range(9)],
        schema=JUDGMENTS,
    )
    scores = scores_of(*((f"{number}", "boot", None, number / 9) for number in range(9)))
    data = student_data(items, judgments=judgments, assistant=scores, verdicts=Verdicts(approved=trusted))
    assert {data.texts[text] for text in present(data.held_out).keyphrases} == {"boot" if trusted else "shoe"}


def test_tables_without_rows_give_no_pairs() -> None:
    data = student_data(items_of(("1", "shoe", None)), assistant=scores_of(("1", "a", None, 0.5)).slice(0, 0))
    assert data.texts == []
    assert not any(data.tasks().values())


def test_search_scores_are_compared_within_their_keyphrase() -> None:
    items = items_of(*((f"{number}", f"shoe {number}", None) for number in range(4)))
    rows = [
        {"item_id": f"{number}", "keyphrase": keyphrase, "score": scale * number}
        for keyphrase, scale in (("shoe", 0.1), ("trainer", 100.0))
        for number in range(4)
    ]
    # Neither a verdict without a score nor a score without another of its keyphrase has a place among percentiles.
    rows += [
        {"item_id": "1", "keyphrase": "boot", "passed": True},
        {"item_id": "2", "keyphrase": "clog", "score": 7.0},
    ]

    def targets(rows: list[dict[str, object]]) -> dict[tuple[str, int], float]:
        search = pa.Table.from_pylist(rows, schema=SEARCH_RELEVANCE)
        data = student_data(items, search_relevance=search, searched_per_item=9, held_out=0)
        pairs = present(data.search_relevance)
        names = zip((data.texts[text] for text in pairs.keyphrases), pairs.items.tolist(), strict=True)
        return dict(zip(names, pairs.scores.tolist(), strict=True))

    expected = {(keyphrase, n): pytest.approx(n / 3) for keyphrase in ("shoe", "trainer") for n in range(4)}
    assert targets(rows) == expected
    verdicts = [{"item_id": f"{n}", "keyphrase": "boot", "passed": n > 1} for n in range(4)]
    assert targets([*rows[-1:], *verdicts]) == {("boot", n): float(n > 1) for n in range(4)}


def single_scores(*passed: bool | None) -> pa.Table:
    """Search relevance that scores one item of each keyphrase, with verdicts."""
    rows = [
        {"item_id": f"{number}", "keyphrase": f"shoe {number}", "score": float(number), "passed": verdict}
        for number, verdict in enumerate(passed)
    ]
    return pa.Table.from_pylist(rows, schema=SEARCH_RELEVANCE)


def test_scores_that_have_no_other_of_their_keyphrase_give_way_to_verdicts() -> None:
    items = items_of(*((f"{number}", f"shoe {number}", None) for number in range(3)))

    def searched(*passed: bool | None) -> Pairs | None:
        return student_data(items, search_relevance=single_scores(*passed), held_out=0).search_relevance

    assert present(searched(True, False, True)).scores.tolist() == [1.0, 0.0, 1.0]
    # A pair without a verdict does not count, and where none has one there is nothing to learn.
    assert present(searched(True, None, False)).scores.tolist() == [1.0, 0.0]
    assert searched(None, None, None) is None


@pytest.mark.parametrize("verdict", [True, None])
def test_a_student_trains_where_search_scored_one_item_of_each_keyphrase(
    verdict: bool | None, tiny_folder: Path, tmp_path: Path
) -> None:
    items = items_of(*((f"{number}", f"shoe {number}", None) for number in range(6)))
    scores = scores_of(*((f"{item}", f"shoe {text}", None, item / 6) for item in range(6) for text in range(3)))
    data = student_data(items, search_relevance=single_scores(*[verdict] * 6), assistant=scores, held_out=0.2)
    trained = train_student(data, tmp_path / "student", replace(recipe_of(tiny_folder), epochs=0.1, dimensions=(32,)))
    assert ("search_relevance" in trained.pairs) is (verdict is not None)
    assert (trained.folder / "modules.json").is_file()


def test_what_was_judged_relevant_is_a_positive_once_unless_judges_disagree() -> None:
    items = items_of(("1", "shoe", None))
    rows = [("boot", True, "a"), ("boot", True, "b"), ("sock", True, "a"), ("sock", False, "b"), ("lamp", False, "a")]
    judgments = pa.Table.from_pylist(
        [{"item_id": "1", "keyphrase": text, "label": label, "judge": judge} for text, label, judge in rows],
        schema=JUDGMENTS,
    )
    scores = scores_of(("1", "boot", None, 0.9), ("1", "shoe", None, 0.9))
    data = student_data(items, judgments=judgments, assistant=scores, held_out=0)
    assert [data.texts[text] for text in present(data.judged_yes).keyphrases] == ["boot"]
    # It is no second positive, and no negative.
    assert [data.texts[text] for text in present(data.approved).keyphrases] == ["shoe"]
    assert {data.texts[text] for _, text in data.known()} == {"boot", "shoe", "sock"}
    assert len(present(data.judgments)) == 5
    alone = data.clicks_alone()
    assert (alone.clicks, alone.approved, alone.judgments) == (None, None, None)
    assert len(present(alone.judged_yes)) == 1
