"""Ids and other whole numbers: read exactly as they were meant, or rejected."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.pairs.pairs import read_pairs
from keydistill.distillation.signals import load_clicks, load_items, load_judgments, load_search_relevance
from keydistill.retrieval.items import read_items
from keydistill.tables import Categories, RejectedValueError, RejectLog, count_cell, id_cell, label_cell, leaf_category

# Neighbouring doubles stand for several of these.
LONG = ("9007199254740993", "1234567890123456789", "76561198000000000000000000000000000001")
LABELS: dict[str, Callable[[object], str | None]] = {
    "item or query": id_cell,
    "site": label_cell,
    "category of a keyphrase": lambda value: ",".join(Categories().of(value, None)),
    "category in a list": lambda value: ",".join(Categories().of([value], None)),
    "category of an item": lambda value: leaf_category(value, None),
}


@pytest.fixture(params=list(LABELS.values()), ids=list(LABELS))
def parse(request: pytest.FixtureRequest) -> Callable[[object], str | None]:
    chosen: Callable[[object], str | None] = request.param
    return chosen


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *((Decimal(digits), digits) for digits in LONG),
        *((int(digits), digits) for digits in LONG),
        *((digits, digits) for digits in LONG),
        (Decimal("12.00"), "12"),
        (float((1 << 53) - 1), "9007199254740991"),
        ("0012", "0012"),
        ("12.0", "12.0"),
        ("5E3", "5E3"),
        ("0x1E+5", "0x1E+5"),
    ],
    ids=repr,
)
def test_an_id_is_read_exactly(parse: Callable[[object], str | None], value: object, label: str) -> None:
    assert parse(value) == label


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float(1 << 53), "is the float 9007199254740992, which no longer says exactly which whole number it was"),
        (-float(1 << 53), "no longer says"),
        (1.2345678901234568e18, "is the float 1.2345678901234568e"),
        ("4.00638E+12", "is a number in scientific notation"),
        (" 4,00638e+12 ", "is a number in scientific notation"),
        ("4E+12", "export the column as text"),
    ],
    ids=repr,
)
def test_an_id_that_lost_digits_is_rejected(parse: Callable[[object], str | None], value: object, message: str) -> None:
    with pytest.raises(RejectedValueError, match=message):
        parse(value)


@pytest.mark.parametrize("value", [Decimal("12.5"), 12.5, float("inf"), True], ids=repr)
def test_an_id_is_a_whole_number(parse: Callable[[object], str | None], value: object) -> None:
    with pytest.raises(RejectedValueError, match=r"expected text or a whole number|neither text nor a number"):
        parse(value)


COLUMNS = {
    "decimal128": (pa.array([Decimal(digits) for digits in LONG], pa.decimal128(38, 0)), list(LONG)),
    "decimal256": (pa.array([Decimal(digits) for digits in LONG], pa.decimal256(60, 2)), list(LONG)),
    "int64": (pa.array([int(digits) for digits in LONG[:2]]), list(LONG[:2])),
    "double": (pa.array([float(digits) for digits in LONG] + [7.0]), ["7"]),
    "float": (pa.array([1 << 24, (1 << 24) - 1], pa.float32()), ["16777215"]),
    "text": (pa.array(["4.00638E+12", *LONG]), list(LONG)),
    "dictionary": (pa.array([Decimal(LONG[0])] * 2, pa.decimal128(38, 0)).dictionary_encode(), [LONG[0]] * 2),
}


@pytest.mark.parametrize(("ids", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_ids_of_every_reader_of_parquet(tmp_path: Path, ids: pa.Array, expected: list[str]) -> None:
    rows = len(ids)
    shared = {"item_id": ids, "keyphrase": [f"lamp {row}" for row in range(rows)], "title": ["a lamp"] * rows}
    path = tmp_path / "table.parquet"
    signals = {"impressions": [9] * rows, "clicks": [1] * rows, "label": [True] * rows, "passed": [True] * rows}
    pq.write_table(pa.table({**shared, **signals}), path)
    loads = [load_clicks, load_judgments, load_search_relevance]
    found: list[list[str]] = []
    for load in loads:
        with RejectLog() as rejects:
            found.append(load([path], rejects)["item_id"].to_pylist())
        assert len(found[-1]) + rejects.count == rows
    with RejectLog() as rejects:
        found.append([item.item_id for batch in read_items([path], rejects) for item in batch])
        found += [pairs["item_id"].to_pylist() for pairs in read_pairs([path], rejects=rejects)]
    assert found == [expected] * 5


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("9007199254740993", "9007199254740993"),
        ("4006381333931.0", "4006381333931"),
        ("1.2345678E7", "12345678"),
        ("4.00638E+12", None),
        ("1e5", None),
        ("9007199254740993.0", None),
        ("9007199254740990.9999999", None),
        ('"4.00638E+12"', None),
        ('"007"', "007"),
    ],
)
def test_ids_of_jsonl(tmp_path: Path, written: str, expected: str | None) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(f'{{"item_id": {written}, "title": "a lamp"}}\n')
    with RejectLog() as rejects:
        assert load_items([path], rejects)["item_id"].to_pylist() == ([expected] if expected else [])
    assert rejects.count == (expected is None)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        *((form, 12) for form in ("12", "12.", "12.0", "12.00", "12.0000", " 12 ")),
        *(("1000.00", 1000), ("0.000", 0), ("0012", 12)),
        *((json_number, 40) for json_number in (40, 40.0, Decimal("40.000"))),
    ],
    ids=repr,
)
def test_a_count_that_has_one_reading(written: object, count: int) -> None:
    assert count_cell(written) == count


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("40.000", "may be 40000 or 40; write numbers without separators"),
        ("40,000", "may be 40000 or 40;"),
        ("1.500", r"may be 1500 or 1\.5;"),
        ("1,200", r"may be 1200 or 1\.2;"),
        (" 1000.000 ", "may be 1000000 or 1000;"),
        ("0.500", r"may be 500 or 0\.5;"),
        ("1.234.567", "is no whole number from 0 up"),
        ("1.000,00", "is no whole number from 0 up"),
        ("1,000.00", "is no whole number from 0 up"),
        ("12,0", "is no whole number from 0 up"),
        ("40 000", "is no whole number from 0 up"),
        ("40\u00a0000", "is no whole number from 0 up"),
        ("40'000", "is no whole number from 0 up"),
        ("٤٠", "is no whole number from 0 up"),
    ],
    ids=repr,
)
def test_a_count_that_has_two_readings_is_rejected(written: str, message: str) -> None:
    with pytest.raises(RejectedValueError, match=message):
        count_cell(written)


@pytest.mark.parametrize("column", ["position", "impressions", "clicks"])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_clicks_in_another_countrys_writing_are_rejected(tmp_path: Path, form: str, column: str) -> None:
    row = {"item_id": "a", "keyphrase": "lamp", "position": "2", "impressions": "1000.0", "clicks": "1"}
    cells = [row, row | {column: "3.000"}]
    path = tmp_path / f"clicks.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(cells), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(each) + "\n" for each in cells))
    else:
        separator = "," if form == "csv" else "\t"
        path.write_text("".join(separator.join(line) + "\n" for line in (row, *(each.values() for each in cells))))
    with RejectLog() as rejects:
        (clicks,) = load_clicks([path], rejects).to_pylist()
    assert (clicks["position"], clicks["impressions"], clicks["clicks"]) == (2, 1000, 1)
    assert [(reject.column, reject.value) for reject in rejects.examples] == [(column, "3.000")]
