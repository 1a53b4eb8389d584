"""Rows of CSV, JSON, JSONL and Parquet files, in batches of columns, each with its row number.

A row that cannot be taken apart is handed on as malformed; an error is raised only where the rest of a file cannot be
trusted. Memory is bounded by the batch, whatever the file holds.
"""

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from keydistill.errors import InputError
from keydistill.tables.conventions import USUAL, Conventions
from keydistill.tables.json_readers import read_json, read_jsonl
from keydistill.tables.parquet_reader import read_parquet
from keydistill.tables.raw_batch import Header, RawBatch
from keydistill.tables.sources import Kind, Source
from keydistill.tables.text_readers import read_csv

Reader = Callable[[Source, Header], Iterator[RawBatch]]

_READERS: Mapping[Kind, Reader] = {
    "csv": read_csv,
    "tsv": read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
    "parquet": read_parquet,
}


def read_rows(
    source: Source,
    *,
    known: Sequence[str],
    required: Sequence[str],
    forbidden: Sequence[str] = (),
    extras: bool = True,
    multiline: Sequence[str] = (),
    headerless: Sequence[str] = (),
    conventions: Conventions = USUAL,
) -> Generator[RawBatch, None, None]:
    """All rows of an open file; when this is exhausted the file did not change in the meantime.

    Close it (`contextlib.closing`) before the file.

    Args:
        source: From `open_source`.
        known: Columns that become `RawBatch.columns`; all others become `RawBatch.extras`.
        required: Columns without which the file is useless.
        forbidden: Names that no column may have.
        extras: Whether the other columns are wanted. Without them they are not even decoded, so that they may be of any
            type, and the known ones may be nested.
        multiline: Known columns whose text may have line breaks. In any other known column of CSV a line break says
            that stray quotes swallowed rows, which are then read on their own.
        headerless: Columns of a text file whose first line names none of the known ones.
        conventions: What stands for nothing in a cell, and how numbers are written.

    Raises:
        InputError: The file is truncated or damaged, or its columns are not as they should be.
        InputChangedError: It changed while it was being read.
    """
    try:
        header = Header(known, required, forbidden, extras, multiline, headerless=headerless)
        for batch in _READERS[source.kind](source, header):
            yield _meant(batch, source.kind, conventions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        source.check_unchanged()
        raise InputError(f"{source.path}: its gzip data is truncated or damaged ({error}); copy it again") from None
    except (pa.ArrowException, OSError) as error:
        # A file that shrinks under the reader shows up as damage first.
        source.check_unchanged()
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source.path} is truncated or damaged ({reason}); copy it again") from None
    source.check_unchanged()


def _meant(batch: RawBatch, kind: Kind, conventions: Conventions) -> RawBatch:
    columns = {name: conventions.column(name, cells) for name, cells in batch.columns.items()}
    extras = batch.extras
    if extras and kind in ("csv", "tsv"):
        # Where everything is text there is no other way to write nothing.
        extras = conventions.free_fields(extras)
    return replace(batch, columns=columns, extras=extras)
