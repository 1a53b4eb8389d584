"""What stands for nothing, and how numbers are written, in every format."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.settings import load_settings
from keydistill.tables import (
    MISSING_VALUES,
    Conventions,
    Reason,
    RejectedValueError,
    count_cell,
    id_cell,
    is_missing,
    keyphrase_cell,
    label_cell,
    number_cell,
    text_cell,
)
from keydistill.tables.numbers import CommaText
from tests.support.read_tables import cells_of

KNOWN = ("keyphrase", "site", "search_volume", "item_id")


def written(folder: Path, form: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form in ("csv", "tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if form == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif form == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_what_says_nothing_is_nothing_in_every_format(tmp_path: Path, form: str) -> None:
    texts = [*MISSING_VALUES, " - ", "  NULL"]
    rows = [{"keyphrase": text, "site": text, "search_volume": text, "item_id": text} for text in texts]
    cells = cells_of(written(tmp_path, form, rows), KNOWN)
    for name in ("keyphrase", "search_volume", "item_id"):
        assert all(map(is_missing, cells[name]))
    # North America is a site.
    assert [text for text in cells["site"] if not is_missing(text)] == ["NA"]


@pytest.mark.parametrize("text", ["none", "na", "nan bread", "0", "--x", "null modem", "NA-KD", "Nan", "-5"])
def test_words_that_somebody_may_mean_stay(tmp_path: Path, text: str) -> None:
    rows = [{"keyphrase": text, "site": text, "search_volume": "1", "item_id": text}]
    for form in ("csv", "jsonl", "parquet"):
        cells = cells_of(written(tmp_path, form, rows), KNOWN)
        assert (cells["keyphrase"], cells["site"], cells["item_id"]) == ([text], [text], [text])


def test_a_brand_may_have_any_name(tmp_path: Path) -> None:
    rows = [{"keyphrase": "a", "brand": brand, "size": size} for brand, size in (("NA", "-"), ("None", r"\N"))]
    for form in ("csv", "tsv"):
        extras = cells_of(written(tmp_path, form, rows), KNOWN)[""]
        assert extras == [{"brand": "NA", "size": None}, {"brand": "None", "size": None}]
    for form in ("jsonl", "parquet"):
        assert cells_of(written(tmp_path, form, rows), KNOWN)[""] == [
            {"brand": "NA", "size": "-"},
            {"brand": "None", "size": r"\N"},
        ]


def test_other_words_can_be_chosen(tmp_path: Path) -> None:
    conventions = Conventions.of(load_settings(missing_values=("k.A.", "")))
    rows = [{"keyphrase": "nan", "site": "k.A.", "search_volume": "", "item_id": "k.A."}]
    cells = cells_of(written(tmp_path, "csv", rows), KNOWN, conventions=conventions)
    assert [is_missing(cells[name][0]) for name in KNOWN] == [False, True, False, True]


def test_nothing_within_objects_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"item_id": {"object": {"id": "-", "ids": ["7", "null"]}}}))
    (cell,) = cells_of(path, KNOWN)["item_id"]
    assert isinstance(cell, dict)
    assert is_missing(cell["object"]["id"])
    assert [is_missing(each) for each in cell["object"]["ids"]] == [False, True]


@pytest.mark.parametrize(
    ("parse", "reason"),
    [(lambda value: keyphrase_cell(value, 200), Reason.EMPTY), (id_cell, Reason.EMPTY), (text_cell, Reason.EMPTY)],
)
def test_a_reject_says_that_the_text_stands_for_nothing(
    tmp_path: Path, parse: Callable[[object], object], reason: Reason
) -> None:
    (cell,) = cells_of(written(tmp_path, "csv", [{"keyphrase": "-", "site": "x"}]), KNOWN)["keyphrase"]
    with pytest.raises(RejectedValueError, match="stands for nothing") as error:
        parse(cell)
    assert error.value.reason is reason
    assert str(cell) == "-"


@pytest.mark.parametrize("text", ["#NAME?", "#name?", "#REF!", "#DIV/0!", "#BEZUG!", "#¡VALOR!", "#####", "Err:502"])
def test_what_a_spreadsheet_shows_for_a_failed_formula_is_no_text(text: str) -> None:
    for parse in (lambda value: keyphrase_cell(value, 200), id_cell, text_cell, label_cell):
        with pytest.raises(RejectedValueError) as error:
            parse(text)
        assert error.value.reason is Reason.SPREADSHEET_ERROR
    assert keyphrase_cell(f"{text} mug", 200) == f"{text.lower()} mug"


@pytest.mark.parametrize("text", ["#love", "#1", "error 502", "#wow!"])
def test_hashtags_are_keyphrases(text: str) -> None:
    assert keyphrase_cell(text, 200) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("40.000", 40_000), ("1.000.000", 1_000_000), ("12,0", 12), ("12", 12), ("1.200,00", 1_200), ("1,000", 1)],
)
def test_counts_with_a_decimal_comma(text: str, number: int) -> None:
    assert count_cell(CommaText(text)) == number
    assert number_cell(CommaText(text)) == number


@pytest.mark.parametrize("text", ["12.5", "1,200.5", "1.2.3", "12.0", "1.00", "1,2,3", "40.00"])
def test_what_is_no_number_with_a_decimal_comma(text: str) -> None:
    for parse in (count_cell, number_cell):
        with pytest.raises(RejectedValueError, match="decimal comma"):
            parse(CommaText(text))


def test_decimal_commas_are_for_numbers_alone(tmp_path: Path) -> None:
    conventions = Conventions(decimal_comma=True)
    rows = [{"keyphrase": "size 1.5", "site": "1.000", "search_volume": "1.000", "item_id": "1.234"}]
    for form in ("csv", "jsonl", "parquet"):
        cells = cells_of(written(tmp_path, form, rows), KNOWN, conventions=conventions)
        assert keyphrase_cell(cells["keyphrase"][0], 200) == "size 1.5"
        assert label_cell(cells["site"][0]) == "1.000"
        assert id_cell(cells["item_id"][0]) == "1.234"
        assert count_cell(cells["search_volume"][0]) == 1_000
    assert number_cell(CommaText("0,85"), 0, 1) == 0.85


def test_the_ambiguous_names_the_option() -> None:
    with pytest.raises(RejectedValueError, match=r"may be 40000 or 40; .*--decimal-comma"):
        count_cell("40.000")
