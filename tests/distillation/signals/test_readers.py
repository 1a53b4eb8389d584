import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.signals import (
    CLICKS,
    ITEMS,
    JUDGMENTS,
    SCHEMAS,
    SEARCH_RELEVANCE,
    load_clicks,
    load_items,
    load_judgments,
    load_search_relevance,
    read_clicks,
)
from keydistill.errors import InputError
from keydistill.tables import Conventions, RejectLog
from tests.support.heard_progress import HeardProgress

PAIR = {"item_id": "1", "keyphrase": "red shoes"}


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            names = list(dict.fromkeys(name for row in rows for name in row))
            writer = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def loaded(
    load: Any, tmp_path: Path, rows: Sequence[Any], extension: str = "jsonl", **options: Any
) -> tuple[pa.Table, list[tuple[int, str | None, str]]]:
    """What a reader makes of rows, and (row, column, reason) of what it refuses."""
    with RejectLog() as rejects:
        table = load([written(tmp_path / f"signals.{extension}", rows)], rejects, **options)
    assert len(rejects.examples) == rejects.count
    return table, [(reject.row, reject.column, str(reject.reason)) for reject in rejects.examples]


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl", "ndjson", "parquet"])
def test_every_format_gives_the_same_clicks(tmp_path: Path, extension: str) -> None:
    first = {"item_id": "1", "keyphrase": "Red  SHOES", "site": "US", "position": 1, "impressions": 10, "clicks": 2}
    second = {"item_id": "2", "keyphrase": "lamp", "site": None, "position": None, "impressions": 5, "clicks": 0}
    rows: list[dict[str, Any]] = [{**first, "sales": 12.5}, {**second, "sales": None}]
    if extension == "ndjson":
        path = tmp_path / "clicks.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        table = load_clicks([path], RejectLog())
    else:
        table, rejects = loaded(load_clicks, tmp_path, rows, extension)
        assert rejects == []
    assert table.schema == CLICKS
    assert table.to_pylist() == [{**rows[0], "keyphrase": "red shoes"}, rows[1]]


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"impressions": 0}, "impressions", "bad_number"),
        ({"impressions": "1,000"}, "impressions", "bad_number"),
        ({"impressions": 2.5}, "impressions", "bad_number"),
        ({"impressions": None}, "impressions", "empty"),
        ({"impressions": True}, "impressions", "bad_number"),
        ({"clicks": -1}, "clicks", "bad_number"),
        ({"clicks": 11}, "clicks", "contradiction"),
        ({"clicks": 1 << 50, "impressions": 1 << 51}, "impressions", "bad_number"),
        ({"position": 0}, "position", "bad_number"),
        ({"position": 1 << 40}, "position", "bad_number"),
        ({"item_id": " "}, "item_id", "empty"),
        ({"item_id": ["1"]}, "item_id", "not_text"),
        ({"keyphrase": ""}, "keyphrase", "empty"),
        ({"keyphrase": "a\x00b"}, "keyphrase", "control_character"),
        ({"keyphrase": "x" * 201}, "keyphrase", "too_long"),
        ({"keyphrase": 7}, "keyphrase", "not_text"),
    ],
)
def test_clicks_that_cannot_be_are_rejected(tmp_path: Path, change: Any, column: str, reason: str) -> None:
    good = {**PAIR, "position": 1, "impressions": 10, "clicks": 2}
    table, rejects = loaded(load_clicks, tmp_path, [good, {**good, **change}, {**good, "item_id": "2"}])
    assert rejects == [(2, column, reason)]
    assert table["item_id"].to_pylist() == ["1", "2"]


def test_equal_numbers_of_other_types_are_not_mixed_up(tmp_path: Path) -> None:
    good = {**PAIR, "impressions": 10}
    _, rejects = loaded(load_clicks, tmp_path, [{**good, "clicks": 1}, {**good, "clicks": True}])
    assert rejects == [(2, "clicks", "bad_number")]


def test_clicks_of_a_pair_and_position_are_summed(tmp_path: Path) -> None:
    def row(position: Any, impressions: Any, clicks: Any, item: Any = "1", site: Any = "US") -> dict[str, Any]:
        counts = {"position": position, "impressions": impressions, "clicks": clicks}
        return {"item_id": item, "keyphrase": "a", "site": site, **counts}

    rows = [row(1, 10, 1), row(2, 5, 0), row(1, 20, 3), row(1, 7, 7, site=None), row(None, 4, 1), row(None, 6, 1)]
    table, _ = loaded(load_clicks, tmp_path, rows)
    merged_rows = [
        (merged_row["site"], merged_row["position"], merged_row["impressions"], merged_row["clicks"])
        for merged_row in table.to_pylist()
    ]
    assert merged_rows == [("US", 1, 30, 4), ("US", 2, 5, 0), (None, 1, 7, 7), ("US", None, 10, 2)]


def test_several_files_are_one_table_and_batches_stay_small(tmp_path: Path) -> None:
    rows = [{"item_id": str(n % 50), "keyphrase": "a", "impressions": 2, "clicks": 1} for n in range(20_000)]
    first = written(tmp_path / "one.parquet", rows)
    second = written(tmp_path / "two.jsonl.gz", rows)
    progress = HeardProgress()
    rejects = RejectLog()
    sizes = [batch.num_rows for batch in read_clicks([first, second], rejects, progress=progress)]
    assert max(sizes) <= 8_192
    assert sum(sizes) == 40_000
    assert sum(progress.counts) == 40_000
    table = load_clicks([first, second], rejects)
    assert table["impressions"].to_pylist() == [1_600] * 50


def test_merging_in_steps_is_merging_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from keydistill.distillation.signals import merging

    def batches(name: str) -> Iterator[pa.Table]:
        for start in range(0, 400, 10):
            rows = [
                {"item_id": str(n % 70), "keyphrase": f"k{n % 7}", "impressions": n + 1, "clicks": 1, "score": n / 400}
                for n in range(start, start + 10)
            ]
            yield pa.Table.from_pylist(rows, schema=SCHEMAS[name])

    for name in ("clicks", "search_relevance"):
        at_once = merging.merged(name, batches(name))
        with monkeypatch.context() as patch:
            patch.setattr(merging, "_WAITING_ROWS", 15)
            assert merging.merged(name, batches(name)) == at_once
        assert at_once.num_rows == 70
    assert merging.merged("clicks", []).schema == CLICKS


@pytest.mark.parametrize(
    ("row", "label", "grade"),
    [
        ({"label": True}, True, None),
        ({"label": "no"}, False, None),
        ({"label": "E"}, True, 3),
        ({"label": "s"}, False, 2),
        ({"grade": 3}, True, 3),
        ({"grade": "C"}, False, 1),
        ({"grade": 0.0}, False, 0),
        ({"probability": 0.5}, True, None),
        ({"probability": 0.49}, False, None),
        ({"label": False, "probability": 0.5}, False, None),
        ({"label": True, "grade": 1}, True, 1),
        ({"grade": 3, "probability": 0.9}, True, 3),
    ],
)
def test_judgments_by_label_grade_or_probability(tmp_path: Path, row: Any, label: Any, grade: Any) -> None:
    table, rejects = loaded(load_judgments, tmp_path, [{**PAIR, **row}])
    assert rejects == []
    assert table.schema == JUDGMENTS
    (judgment,) = table.to_pylist()
    assert (judgment["label"], judgment["grade"]) == (label, grade)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ({}, "label", "empty"),
        ({"label": "maybe"}, "label", "bad_label"),
        ({"label": 2}, "label", "bad_label"),
        ({"grade": 4}, "grade", "bad_label"),
        ({"grade": "X"}, "grade", "bad_label"),
        ({"probability": 1.01}, "probability", "bad_number"),
        ({"probability": "0,5"}, "probability", "bad_number"),
        ({"label": True, "probability": 0.2}, "label", "contradiction"),
        ({"label": False, "probability": 0.8}, "label", "contradiction"),
        ({"label": "E", "grade": 2}, "label", "contradiction"),
        ({"grade": 0, "probability": 0.9}, "label", "contradiction"),
    ],
)
def test_judgments_that_cannot_be_are_rejected(tmp_path: Path, row: Any, column: str, reason: str) -> None:
    table, rejects = loaded(load_judgments, tmp_path, [{**PAIR, "label": True, "item_id": "2"}, {**PAIR, **row}])
    assert rejects == [(2, column, reason)]
    assert table.num_rows == 1


def test_the_grade_that_is_relevant_is_a_choice(tmp_path: Path) -> None:
    rows = [{**PAIR, "item_id": str(grade), "grade": grade} for grade in range(4)]
    table, _ = loaded(load_judgments, tmp_path, rows, relevant_grade=2)
    assert table["label"].to_pylist() == [False, False, True, True]


def test_the_last_judgment_of_a_judge_counts_and_judges_do_not_mix(tmp_path: Path) -> None:
    rows = [
        {**PAIR, "label": True, "judge": "llm", "prompt_version": "1"},
        {**PAIR, "label": True, "judge": "human"},
        {**PAIR, "label": False, "judge": "llm", "prompt_version": "1"},
        {**PAIR, "label": True, "judge": "llm", "prompt_version": "2"},
    ]
    table, _ = loaded(load_judgments, tmp_path, rows)
    judgments = [(row["judge"], row["prompt_version"], row["label"]) for row in table.to_pylist()]
    assert judgments == [("llm", "1", False), ("human", None, True), ("llm", "2", True)]


def test_search_relevance_by_score_or_passed(tmp_path: Path) -> None:
    rows = [
        {**PAIR, "item_id": "1", "score": 0.7},
        {**PAIR, "item_id": "2", "score": 0.2},
        {**PAIR, "item_id": "3", "passed": "yes", "score": 0.1},
        {**PAIR, "item_id": "4", "passed": 0},
        {**PAIR, "item_id": "5"},
        {**PAIR, "item_id": "6", "score": "nan"},
        {**PAIR, "item_id": "7", "score": 1e400},
    ]
    table, rejects = loaded(load_search_relevance, tmp_path, rows, "csv", threshold=0.5)
    assert table.schema == SEARCH_RELEVANCE
    assert table["passed"].to_pylist() == [True, False, True, False]
    assert rejects == [(5, "passed", "empty"), (6, "passed", "empty"), (7, "score", "bad_number")]
    table, _ = loaded(load_search_relevance, tmp_path, rows[:2], "csv")
    assert table["passed"].to_pylist() == [None, None]


def test_items(tmp_path: Path) -> None:
    rows = [
        {"item_id": 7, "title": " Red \t shoes ", "category_path": "Clothing>  Shoes", "site": "US", "other": {"a": 1}},
        {"item_id": "8", "title": "", "category_path": None, "site": None},
        {"item_id": "9", "title": "lamp", "category_path": "Home > > Lamps"},
        {"item_id": "7", "title": "blue shoes", "site": "US"},
        {"item_id": "7", "title": "in another site", "site": "DE"},
    ]
    table, rejects = loaded(load_items, tmp_path, rows)
    assert table.schema == ITEMS
    assert table.to_pylist() == [
        {"item_id": "7", "title": "blue shoes", "category_path": None, "site": "US"},
        {"item_id": "7", "title": "in another site", "category_path": None, "site": "DE"},
    ]
    assert rejects == [(2, "title", "empty"), (3, "category_path", "bad_category")]


def test_columns_that_nobody_reads_may_be_anything(tmp_path: Path) -> None:
    rows = [{"item_id": "1", "title": "lamp", "nested": {"deep": [{"er": 1}]}}]
    table, rejects = loaded(load_items, tmp_path, rows, "parquet")
    assert (table.num_rows, rejects) == (1, [])


def test_a_file_without_a_needed_column_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "clicks.csv", [{"item_id": "1", "keyphrase": "a", "clicks": 1}])
    with pytest.raises(InputError, match="has no column 'impressions'; found: item_id, keyphrase, clicks"):
        load_clicks([path], RejectLog())


@pytest.mark.parametrize("names", [("query", "docid", "rating"), ("Query Text", "Doc ID", "Rating")])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_judgments_of_quepid(tmp_path: Path, names: tuple[str, ...], separator: str) -> None:
    path = tmp_path / "quepid.csv"
    lines = [
        names,
        ("laptop", "1229111", "0"),
        ("laptop", "2060476", "3"),
        ("desk", "0012", "3.000"),
        ("desk", "-", ""),
    ]
    path.write_text("".join(separator.join(line) + "\n" for line in lines))
    with RejectLog() as rejects:
        table = load_judgments([path], rejects)
    assert [(row["item_id"], row["keyphrase"], row["grade"], row["label"]) for row in table.to_pylist()] == [
        ("1229111", "laptop", 0, False),
        ("2060476", "laptop", 3, True),
        ("0012", "desk", 3, True),
    ]
    assert [reject.row for reject in rejects.examples] == [4]


def test_clicks_and_scores_with_decimal_commas(tmp_path: Path) -> None:
    conventions = Conventions(decimal_comma=True)
    path = tmp_path / "clicks.csv"
    path.write_text("item_id;keyphrase;position;impressions;clicks\na;zelt;1,0;1.000;12\nb;zelt;1;1.5;1\n")
    with RejectLog() as rejects:
        table = load_clicks([path], rejects, conventions=conventions)
    assert table.select(["position", "impressions", "clicks"]).to_pylist() == [
        {"position": 1, "impressions": 1_000, "clicks": 12}
    ]
    assert [(reject.row, reject.column) for reject in rejects.examples] == [(2, "impressions")]
    path.write_text("item_id;keyphrase;probability\na;zelt;0,85\n")
    with RejectLog() as rejects:
        (row,) = load_judgments([path], rejects, conventions=conventions).to_pylist()
    assert (row["label"], round(row["probability"], 4)) == (True, 0.85)
