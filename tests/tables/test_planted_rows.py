# ruff: noqa: RUF001
"""Rows with the troubles of real files, planted among good ones: each is read right or rejected, and none is gone.

`KEYDISTILL_PLANTED_EXAMPLES=20000` makes a long run of it.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keydistill.tables import (
    MISSING_VALUES,
    USUAL,
    Categories,
    Conventions,
    RejectLog,
    RowProblems,
    count_cell,
    id_cell,
    is_missing,
    keyphrase_cell,
    open_source,
    read_rows,
)

KNOWN = ("item_id", "keyphrase", "impressions", "category_path")
HEADER = (*KNOWN, "note")
_categories = Categories()


def _paths(value: object) -> tuple[str, ...]:
    return tuple(_categories.of(None, None if is_missing(value) else value))


PARSERS: dict[str, Callable[[Any], Any]] = {
    "item_id": id_cell,
    "keyphrase": lambda value: keyphrase_cell(value, 200),
    "impressions": count_cell,
    "category_path": _paths,
}


class Cell(NamedTuple):
    """A cell as it stands in a file, and every value that it may be read as; none: its row is a reject."""

    written: object
    readings: tuple[object, ...]


class Row(NamedTuple):
    """The cells of a row."""

    item_id: Cell
    keyphrase: Cell
    impressions: Cell
    category_path: Cell
    note: Cell


# Quotes and commas now and then: a row that has some ends what a stray quote began.
_words = (
    st.one_of(*[st.text("abcxyz üß", min_size=1, max_size=12)] * 7, st.text("ab \"',", min_size=1, max_size=12))
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
_notes = _words.map(lambda text: Cell(text, (text,)))
_long = st.integers(1 << 53, 10**30)


def _either(*cells: st.SearchStrategy[Cell]) -> st.SearchStrategy[Cell]:
    return st.one_of(*cells)


_missing = st.sampled_from([*MISSING_VALUES, " - ", "  null "])
# What is different for readers, as it is; and what is the same, as the first of it.
_KEPT = ["1½ inch", "10²", "nike™", "می\u200cخواهم", "ක\u0dca\u200dෂ", "👨\u200d👩\u200d👧", "น\u0e49\u0e33", "straße"]
_SAME = {"ＲＥＤ": "red", "cafe\u0301": "café", "ｶﾞ": "ガ", "sho\u200bes": "shoes", "5㎏": "5kg", "İ": "i\u0307"}
_keyphrases = _either(
    *[_words.map(lambda text: Cell(text, (text.lower(),)))] * 4,
    st.sampled_from(_KEPT).map(lambda text: Cell(text, (text,))),
    st.sampled_from(sorted(_SAME)).map(lambda text: Cell(text, (_SAME[text],))),
    st.sampled_from(["=1+1", "+49", "-5 grad", "@home", "none", "na", "null modem"]).map(
        lambda text: Cell(text, (text,))
    ),
    _missing.map(lambda text: Cell(text, ())),
    st.sampled_from(["#NAME?", "#REF!", "#WERT!", "Err:502"]).map(lambda text: Cell(text, ())),
)
_names = st.text("ab|>\\ &", min_size=1, max_size=5).map(lambda text: " ".join(text.split())).filter(bool)


def _path(names: list[str]) -> Cell:
    """A path of names with separators in them, as somebody writes it who knows the escapes."""
    names = [name.rstrip("\\ ") or "x" for name in (name.replace("\\|", "|").replace("\\>", ">") for name in names)]
    escaped = [name.replace("|", r"\|").replace(">", r"\>") for name in names]
    levels = tuple(sorted(" > ".join(escaped[:depth]) for depth in range(1, len(names) + 1)))
    return Cell(" > ".join(escaped), (levels,))


_paths_written = _either(
    st.lists(_names, min_size=1, max_size=3).map(_path),
    st.just(Cell("A > B|C", (("A", "A > B", "C"),))),
    st.just(Cell("A &gt; B &amp; C", (("A", "A > B & C"),))),
    st.just(Cell("A > > B", ())),
    st.just(Cell("#REF!", ())),
    _missing.map(lambda text: Cell(text, ((),))),
    st.just(Cell("", ((),))),
)
TEXT_IDS = _either(
    st.integers(0, 10**30).map(lambda number: Cell(str(number), (str(number),))),
    st.integers(0, 999).map(lambda number: Cell(f"{number:06}", (f"{number:06}",))),
    _long.map(lambda number: Cell(f"{number:.5E}", ())),
    _long.map(lambda number: Cell(f"{number:.5e}".replace(".", ","), ())),
    _missing.map(lambda text: Cell(text, ())),
)
JSON_IDS = _either(
    TEXT_IDS,
    st.integers(0, 10**30).map(lambda number: Cell(number, (str(number),))),
    st.integers(0, (1 << 53) - 1).map(lambda number: Cell(float(number), (str(number),))),
    _long.map(lambda number: Cell(float(number), ())),
)
TEXT_COUNTS = _either(
    st.integers(0, 10**9).map(lambda count: Cell(str(count), (count,))),
    st.integers(0, 10**9).map(lambda count: Cell(f"{count}.0", (count,))),
    st.integers(1, 999).map(lambda count: Cell(f"{count}.000", ())),
    st.integers(1, 999).map(lambda count: Cell(f"{count},500", ())),
    st.integers(1, 999).map(lambda count: Cell(f"{count}.250.000", ())),
    _missing.map(lambda text: Cell(text, (None,))),
)
COMMA_COUNTS = _either(
    st.integers(0, 10**9).map(lambda count: Cell(str(count), (count,))),
    st.integers(0, 10**9).map(lambda count: Cell(f"{count:,}".replace(",", "."), (count,))),
    st.integers(0, 10**9).map(lambda count: Cell(f"{count},00", (count,))),
    st.integers(1, 999).map(lambda count: Cell(f"{count},5", ())),
    st.integers(1, 999).map(lambda count: Cell(f"{count}.5", ())),
    st.integers(1, 999).map(lambda count: Cell(f"{count},250.0", ())),
)
JSON_COUNTS = _either(TEXT_COUNTS, st.integers(0, 10**9).map(lambda count: Cell(float(count), (count,))))


def _rows(ids: st.SearchStrategy[Cell], counts: st.SearchStrategy[Cell]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.builds(Row, ids, _keyphrases, counts, _paths_written, _notes), min_size=3, max_size=12)


def read(path: Path, conventions: Conventions = USUAL) -> tuple[dict[int, dict[str, object]], set[int], int]:
    """Rows by their first line (number in Parquet), the lines of rejects, and how many rows there were."""
    rows: dict[int, dict[str, object]] = {}
    read_count = 0
    with (
        RejectLog(path.with_name("rejects.parquet")) as rejects,
        open_source(path) as source,
        closing(read_rows(source, known=KNOWN, required=KNOWN, conventions=conventions)) as batches,
    ):
        for batch in batches:
            problems = RowProblems(batch, str(path))
            columns = {name: problems.parsed(name, batch.columns[name], parse) for name, parse in PARSERS.items()}
            numbers = batch.lines or batch.rows
            for place, number in enumerate(numbers):
                if place not in problems:
                    note = batch.extras[place].get("note") if batch.extras else None
                    rows[number] = {**{name: columns[name][place] for name in KNOWN}, "note": note}
            problems.settle(rejects)
            read_count += len(batch.rows) + len(batch.malformed)
    table = pq.read_table(path.with_name("rejects.parquet")).to_pylist()
    assert len(rows) + len(table) == read_count
    return rows, {each["line"] or each["row"] for each in table}, read_count


def check(rows: dict[int, dict[str, object]], rejected: set[int], planted: dict[int, Row]) -> None:
    """Compare what was read with what was planted, by lines."""
    assert rows.keys() | rejected >= planted.keys()
    for number, row in rows.items():
        # A row that was read is one that was planted there, and says what was meant.
        for (name, value), cell in zip(row.items(), planted[number], strict=True):
            assert value in cell.readings, (name, cell.written)
    for number, cells in planted.items():
        assert number in (rejected if any(not cell.readings for cell in cells) else rows.keys() | rejected)


_bounded = settings(
    max_examples=int(os.environ.get("KEYDISTILL_PLANTED_EXAMPLES", "120")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# What people do to rows by hand: an inch mark, a quote that opens and is not closed, both left unquoted.
_stray = st.sampled_from([None, None, "open", "close"])


@_bounded
@given(st.sampled_from(["csv", "tsv", "txt"]), st.sampled_from(",\t;"), st.booleans(), st.data())
def test_rows_of_csv(extension: str, delimiter: str, comma: bool, data: st.DataObject) -> None:
    rows = data.draw(_rows(TEXT_IDS, COMMA_COUNTS if comma else TEXT_COUNTS))
    text = io.StringIO()
    text.write(data.draw(st.sampled_from(["", f"sep={delimiter}\n", "\n"])))
    first = text.getvalue().count("\n") + 2
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(HEADER)
    planted: dict[int, Row] = {}
    place = data.draw(st.integers(0, 4))
    line = first - 1
    for row in rows:
        line += 1
        if data.draw(st.integers(0, 9)) == 0:
            # What spreadsheets leave below a table, which is no row.
            text.write(delimiter * (len(HEADER) - 1) + "\n")
            line += 1
        stray = data.draw(_stray)
        if stray is None:
            writer.writerow([cell.written for cell in row])
            planted[line] = row
            continue
        cells = [f"id{line}", f"screen {line}", str(line), f"shop {line}", f"size {line}"]
        cells[place] = f'"{cells[place]}' if stray == "open" else f'{cells[place]}"'
        text.write(delimiter.join(cells) + "\n")
        # As it stands, with its quote, or not at all; a number with a quote is none.
        readings: list[tuple[object, ...]] = [(cell,) for cell in cells]
        readings[2] = () if place == 2 else (line,)
        readings[3] = ((cells[3],),)
        planted[line] = Row(*(Cell(*each) for each in zip(cells, readings, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{extension}"
        path.write_text(text.getvalue(), encoding="utf-8")
        found, rejected, _ = read(path, Conventions(decimal_comma=comma))
    check(found, rejected, planted)


@_bounded
@given(_rows(JSON_IDS, JSON_COUNTS))
def test_rows_of_jsonl(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        lines = (json.dumps(dict(zip(HEADER, (cell.written for cell in row), strict=True))) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        found, rejected, _ = read(path)
    check(found, rejected, dict(enumerate(rows, start=1)))


_COLUMNS: dict[pa.DataType, st.SearchStrategy[Cell]] = {
    pa.decimal128(38, 0): st.integers(0, 10**30).map(lambda number: Cell(Decimal(number), (str(number),))),
    pa.float64(): _either(
        st.integers(0, (1 << 53) - 1).map(lambda number: Cell(float(number), (str(number),))),
        _long.map(lambda number: Cell(float(number), ())),
    ),
    pa.float32(): _either(
        st.integers(0, (1 << 24) - 1).map(lambda number: Cell(float(number), (str(number),))),
        st.integers(1 << 24, 1 << 40).map(lambda number: Cell(float(number), ())),
    ),
    pa.int64(): st.integers(0, (1 << 63) - 1).map(lambda number: Cell(number, (str(number),))),
    pa.string(): TEXT_IDS,
}


@_bounded
@given(st.sampled_from(list(_COLUMNS)), st.data())
def test_rows_of_parquet(kind: pa.DataType, data: st.DataObject) -> None:
    rows = data.draw(_rows(_COLUMNS[kind], TEXT_COUNTS))
    types = (kind, *[pa.string()] * 4)
    columns = {name: pa.array([row[place].written for row in rows], types[place]) for place, name in enumerate(HEADER)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(pa.table(columns), path)
        found, rejected, _ = read(path)
    check(found, rejected, dict(enumerate(rows, start=1)))
