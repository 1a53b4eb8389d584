"""Files as tables of valid rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables.conventions import USUAL, Conventions
from keydistill.tables.raw_batch import RawBatch
from keydistill.tables.readers import read_rows
from keydistill.tables.rejects import RejectLog
from keydistill.tables.row_problems import RowProblems
from keydistill.tables.sources import open_source

Columns = Mapping[str, Sequence[Any]]
Validate = Callable[[RawBatch, RowProblems], Columns]


def read_valid(
    files: Sequence[Path],
    schema: pa.Schema,
    validate: Validate,
    rejects: RejectLog,
    *,
    required: Sequence[str],
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> Iterator[pa.Table]:
    """Tables of the rows that are valid; every other row is a reject.

    Args:
        files: CSV, JSONL or Parquet, read in this order.
        schema: Schema of the tables; its columns are looked for in the files.
        validate: Function that makes columns of a batch's cells, and notes the rows with a problem.
        rejects: Log of the rows with a problem.
        required: Columns that a file must have.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Advanced by the number of rows read after each batch.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    for file in map(Path, files):
        with (
            open_source(file) as source,
            closing(
                read_rows(
                    source,
                    known=schema.names,
                    required=required,
                    extras=False,
                    conventions=conventions,
                )
            ) as batches,
        ):
            for batch in batches:
                problems = RowProblems(batch, str(file))
                columns = validate(batch, problems)
                usable_places = problems.settle(rejects)
                if usable_places is not None:
                    columns = {name: [values[place] for place in usable_places] for name, values in columns.items()}
                table = pa.table(columns, schema=schema)
                if len(table):
                    yield table
                progress.advance(len(batch.rows) + len(batch.malformed))
