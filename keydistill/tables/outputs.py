"""Tables that we give others: CSV, JSONL or Parquet, each visible only once it is complete."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.errors import InputError
from keydistill.files import whole_file
from keydistill.tables.categories import list_text
from keydistill.tables.conventions import FORMULA_STARTS, USUAL, Conventions

Row = Mapping[str, Any]
Write = Callable[[Sequence[Row]], None]


def check_output(path: Path) -> None:
    """Refuse a file that `open_table` would refuse: for those who open it only after much work.

    Raises:
        InputError: The extension is none of .csv, .jsonl, .parquet.
    """
    if path.suffix not in _WRITERS:
        raise InputError(f"{path} has an unknown extension; expected one of {', '.join(_WRITERS)}")


@contextmanager
def open_table(path: Path, schema: pa.Schema, conventions: Conventions = USUAL) -> Iterator[Write]:
    """A function that writes rows to `path`; the file replaces an older one when the block ends without an error.

    Args:
        path: Its extension decides the format.
        schema: Columns, in their order; a row has a value for each.
        conventions: Whether texts of CSV that a spreadsheet would take for formulas get an apostrophe before them.

    Raises:
        InputError: The extension is none of .csv, .jsonl, .parquet.
    """
    check_output(path)
    with whole_file(path) as draft, _WRITERS[path.suffix](draft, schema) as write:
        if conventions.escape_formulas and path.suffix == ".csv":
            yield lambda rows: write([_without_formulas(row) for row in rows])
        else:
            yield write


def _without_formulas(row: Row) -> Row:
    return {name: _without_formula(value) for name, value in row.items()}


def _without_formula(value: object) -> object:
    if isinstance(value, list):
        # A cell begins with its first value.
        return [_without_formula(each) for each in value[:1]] + value[1:]
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


@contextmanager
def _csv(path: Path, schema: pa.Schema) -> Iterator[Write]:
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, schema.names)
        writer.writeheader()

        def write(rows: Sequence[Row]) -> None:
            writer.writerows({**row, **{name: list_text(row[name] or ()) for name in lists}} for row in rows)

        yield write


@contextmanager
def _jsonl(path: Path, schema: pa.Schema) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:

        def write(rows: Sequence[Row]) -> None:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

        yield write


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write(rows: Sequence[Row]) -> None:
            writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))

        yield write


_WRITERS: Mapping[str, Callable[[Path, pa.Schema], AbstractContextManager[Write]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
