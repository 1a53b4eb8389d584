"""Text files say themselves what separates their cells, what their columns are, and whether they have a header."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.errors import InputError
from tests.support.read_tables import cells_of

KNOWN = ("keyphrase", "search_volume")
ROWS = {"keyphrase": ["red shoes", "lamp"], "search_volume": ["12", "3"]}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.csv.gz", "a.txt.gz"])
@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("before", ["", "sep={}\n", '"sep={}"\r\n', "\n\n", ",,\n"])
def test_the_content_says_what_separates_cells(tmp_path: Path, name: str, separator: str, before: str) -> None:
    lines = ["keyphrase,search_volume", "red shoes,12", ",", " , ", "lamp,3", ",", ""]
    text = before.format(separator) + "\n".join(line.replace(",", separator) for line in lines)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    cells = cells_of(path, KNOWN, ["keyphrase"])
    assert {column: cells[column] for column in KNOWN} == ROWS


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    from keydistill.tables import open_source, read_rows

    path = tmp_path / "a.csv"
    path.write_text("sep=;\nkeyphrase;site\na;US\n;;\nb;UK\n")
    with open_source(path) as source:
        (batch,) = read_rows(source, known=["keyphrase"], required=["keyphrase"])
    assert (batch.rows, batch.lines) == ([1, 2], [3, 5])


def test_text_with_separators_stays_one_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("keyphrase\na;b\nc\td\n")
    assert cells_of(path, ["keyphrase"], ["keyphrase"])["keyphrase"] == ["a;b", "c\td"]


@pytest.mark.parametrize(
    "names",
    [
        ("keyword", "volume"),
        ("Search Term", "Avg. monthly searches"),
        ("Query", "Search Volume"),
        ("KEYPHRASE", "Search_Volume"),
        ("term", "searchVolume"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_columns_by_the_names_of_others(tmp_path: Path, names: tuple[str, str], form: str) -> None:
    table = pa.table(dict(zip(names, ROWS.values(), strict=True)))
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    elif form == "csv":
        path.write_text("\n".join(",".join(row) for row in [names, *zip(*ROWS.values(), strict=True)]))
    else:
        rows = table.to_pylist()
        path.write_text(json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows)))
    cells = cells_of(path, KNOWN, ["keyphrase"])
    assert {column: cells[column] for column in KNOWN} == ROWS
    assert cells[""] == [{}, {}]


def test_a_column_of_our_name_is_never_another(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("query,keyphrase\nx,y\n")
    assert cells_of(path, ["keyphrase"], ["keyphrase"]) == {"keyphrase": ["y"], "": [{"query": "x"}]}


@pytest.mark.parametrize(("name", "separator"), [("a.tsv", "\t"), ("a.txt", "\t"), ("a.csv", "\t"), ("a.csv", ",")])
def test_a_file_without_a_header(tmp_path: Path, name: str, separator: str) -> None:
    path = tmp_path / name
    path.write_text("".join(f"{id}{separator}{text}\n" for id, text in (("101", "desk lamp"), ("102", "oak desk"))))
    cells = cells_of(path, ["id", "text"], headerless=["id", "text"])
    assert (cells["id"], cells["text"]) == (["101", "102"], ["desk lamp", "oak desk"])
    with pytest.raises(InputError, match="found: 101, desk lamp; if that is a row, a header is missing"):
        cells_of(path, KNOWN, ["keyphrase"])


JUDGED: dict[str, Any] = {
    "judgmentRatings": [
        {"query": "lamp", "ratings": [{"docId": "007", "rating": "3.000"}, {"docId": "2", "rating": "0.000"}]},
        {"query": "desk", "ratings": []},
        {"query": "chair", "ratings": [{"docId": "3", "rating": 1}]},
    ]
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(JUDGED)),
        ("a.json", json.dumps(JUDGED, indent=2)),
        ("a.jsonl", json.dumps(JUDGED)),
        ("a.json", json.dumps({"hits": {"total": 1, "hits": [{"_id": "x", "_source": JUDGED}]}}, indent=1)),
        ("a.jsonl", json.dumps({"_id": "x", "_source": JUDGED})),
        ("a.json", json.dumps([JUDGED])),
    ],
)
def test_judgment_lists_of_opensearch(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    cells = cells_of(path, ["item_id", "keyphrase", "grade"], ["item_id", "keyphrase"], extras=False)
    assert cells["item_id"] == ["007", "2", "3"]
    assert cells["keyphrase"] == ["lamp", "lamp", "chair"]
    assert cells["grade"] == ["3.000", "0.000", 1]


def test_a_large_json_document_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keydistill.tables import json_readers

    monkeypatch.setattr(json_readers, "MAX_DOCUMENT_CHARS", 50)
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"keyphrase": "a" * 60}]))
    with pytest.raises(InputError, match="more than 50 characters is not read; write one object per line"):
        cells_of(path, ["keyphrase"])


def test_an_unknown_time_zone_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    moments = pa.array([0, None], pa.timestamp("s", "Mars/Phobos"))
    pq.write_table(pa.table({"keyphrase": ["a", "b"], "seen": moments}), path)
    assert [row["seen"] for row in cells_of(path, ["keyphrase"])[""]] == ["1970-01-01 00:00:00.000Z", None]  # type: ignore[index]
