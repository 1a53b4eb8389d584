import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.pairs.labels import read_labels
from keydistill.distillation.pairs.pairs import PAIR_SCHEMA, read_pairs
from keydistill.errors import InputError
from keydistill.tables import RejectLog

ROWS = [
    {"item_id": "1", "keyphrase": "Red  Shoes", "title": "Red running  shoes", "category_path": "A >B", "site": "US"},
    {"item_id": "2", "keyphrase": "usb c", "title": "Cable", "category_path": "", "site": ""},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(*files: Path, **options: Any) -> tuple[list[dict[str, Any]], list[tuple[int, str | None, str]]]:
    with RejectLog() as rejects:
        tables = list(read_pairs(files, rejects=rejects, **options))
    assert all(table.schema.equals(PAIR_SCHEMA) for table in tables)
    return (
        [row for table in tables for row in table.to_pylist()],
        [(reject.row, reject.column, str(reject.reason)) for reject in rejects.examples],
    )


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_pairs_in_every_format(tmp_path: Path, extension: str) -> None:
    rows, rejects = rows_of(write(tmp_path / f"pairs.{extension}", ROWS))
    assert rejects == []
    assert rows == [
        {
            "item_id": "1",
            "keyphrase": "red shoes",
            "site": "US",
            "title": "Red running shoes",
            "category_path": "A > B",
        },
        {"item_id": "2", "keyphrase": "usb c", "site": None, "title": "Cable", "category_path": None},
    ]


def test_rows_that_are_no_pairs_are_rejected(tmp_path: Path) -> None:
    good = ROWS[1]
    changes = [
        {"item_id": ""},
        {"keyphrase": " "},
        {"keyphrase": "x" * 201},
        {"title": " "},
        {"category_path": "A > > B"},
    ]
    rows, rejects = rows_of(write(tmp_path / "p.csv", [good, *({**good, **change} for change in changes), good]))
    assert len(rows) == 2
    assert rejects == [
        (2, "item_id", "empty"),
        (3, "keyphrase", "empty"),
        (4, "keyphrase", "too_long"),
        (5, "title", "empty"),
        (6, "category_path", "bad_category"),
    ]


def test_what_a_row_leaves_empty_comes_from_the_items(tmp_path: Path) -> None:
    items = write(
        tmp_path / "items.jsonl",
        [
            {"item_id": "1", "title": "One", "category_path": "A > B", "site": "US"},
            {"item_id": "2", "title": "Two in the US", "site": "US"},
            {"item_id": "2", "title": "Two in Germany", "site": "DE"},
            {"item_id": "3", "title": "Three"},
            {"item_id": "", "title": "nobody"},
        ],
    )
    pairs = write(
        tmp_path / "pairs.jsonl",
        [
            {"item_id": "1", "keyphrase": "a"},
            {"item_id": "1", "keyphrase": "a", "title": "Own", "category_path": "C"},
            {"item_id": "2", "keyphrase": "a", "site": "DE"},
            {"item_id": "2", "keyphrase": "a"},
            {"item_id": "3", "keyphrase": "a", "site": "FR"},
            {"item_id": "1", "keyphrase": "a", "site": "FR"},
            {"item_id": "9", "keyphrase": "a"},
            {"item_id": "9", "keyphrase": "a", "title": "Own"},
        ],
    )
    rows, rejects = rows_of(pairs, items=items)
    assert [(row["item_id"], row["title"], row["category_path"], row["site"]) for row in rows] == [
        ("1", "One", "A > B", "US"),
        ("1", "Own", "C", "US"),
        ("2", "Two in Germany", None, "DE"),
        ("3", "Three", None, "FR"),
        ("9", "Own", None, None),
    ]
    assert rejects == [
        (5, "item_id", "empty"),
        (4, "item_id", "unknown_reference"),
        (6, "item_id", "unknown_reference"),
        (7, "item_id", "unknown_reference"),
    ]


def test_without_titles_and_items_it_says_what_is_missing(tmp_path: Path) -> None:
    pairs = write(tmp_path / "p.csv", [{"item_id": "1", "keyphrase": "a"}])
    with pytest.raises(InputError, match="no column 'title'"):
        rows_of(pairs)


def test_labels_of_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "esci.csv",
        [
            {"item_id": "1", "keyphrase": "A", "label": "E", "probability": ""},
            {"item_id": "1", "keyphrase": "b", "label": "S", "probability": "0.25"},
            {"item_id": "1", "keyphrase": "c", "label": "?", "probability": ""},
        ],
    )
    with RejectLog() as rejects:
        table = read_labels(path, rejects)
    assert (table.name, len(table), rejects.count) == ("esci", 2, 1)
    assert (table.get("1", "a"), table.get("1", "b"), table.get("1", "c")) == ((True, None), (False, 0.25), None)


@pytest.mark.parametrize(("labels", "message"), [(["yes", "no"], "both yes and no"), (["?"], "no usable label")])
def test_labels_that_say_nothing_are_one_line(tmp_path: Path, labels: Any, message: str) -> None:
    rows = [{"item_id": "1", "keyphrase": "a", "label": label} for label in labels]
    with pytest.raises(InputError, match=message):
        read_labels(write(tmp_path / "l.csv", rows))
