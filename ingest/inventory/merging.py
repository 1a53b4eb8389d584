"""Staged rows in their final order, rows of the same (site, keyphrase) merged into one.

The sort is DuckDB's, which spills to disk. Merging needs only neighbours, so it holds one batch. Two rows merge into
one with the categories of both; everything else comes from the row with the larger search volume (none counts as
smallest), between equals from the one whose language, then payload, is smaller as text (none comes last). That is a
choice of the smallest by one total order, so neither the order of rows nor that of merges matters.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keydistill.errors import StorageError
from keydistill.ingest.inventory.validation import ROW_SCHEMA

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 16_384
# More threads would each need a share of the memory; with this many the sort is no longer the slow part.
_MAX_THREADS = 4

STAGED_SCHEMA = ROW_SCHEMA.append(pa.field("tokens", pa.int32(), nullable=False))


@contextmanager
def sorting_database(work: Path, memory_mb: int) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A DuckDB in memory that spills into the folder `work` and takes at most about `memory_mb`.

    Raises:
        StorageError: The disk is full, or the memory is too small to sort with.
    """
    # It is in the extra `build` alone, and those who only look at runs come this way too.
    import duckdb

    threads = min(_MAX_THREADS, os.cpu_count() or 1, max(1, memory_mb // 64))
    config: dict[str, Any] = {
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": str(work / "spill"),
        "threads": threads,
        "preserve_insertion_order": "false",
    }
    try:
        with duckdb.connect(":memory:", config=config) as database:
            # Otherwise DuckDB draws a progress bar of its own on a terminal.
            database.execute("SET enable_progress_bar = false")
            yield database
    except duckdb.OutOfMemoryException as error:
        raise StorageError(
            f"sorting the inventory needs more than {memory_mb} MB of memory or more disk than there is in {work} "
            f"({_first_line(error)}); raise KEYDISTILL_MEMORY_MB or free disk space"
        ) from None
    except duckdb.IOException as error:
        raise StorageError(f"sorting in {work} failed ({_first_line(error)}); free disk space") from None


@contextmanager
def sorted_rows(database: "duckdb.DuckDBPyConnection", staged: Path) -> Iterator[Iterator[pa.Table]]:
    """All rows of a Parquet file by `STAGED_SCHEMA`, sorted by tokens, keyphrase and site (none first), in batches."""
    # The default collation compares UTF-8 bytes: the same order on every machine.
    query = "SELECT * FROM read_parquet($staged) ORDER BY tokens, keyphrase, site NULLS FIRST"
    # Closed before its connection, also when the caller stops in the middle.
    with database.sql(query, params={"staged": str(staged)}).to_arrow_reader(BATCH_ROWS) as reader:
        yield (pa.Table.from_batches([batch]).cast(STAGED_SCHEMA) for batch in reader)


def merged_rows(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Rows of sorted batches, one for each (site, keyphrase), in the same order."""
    last_row: pa.Table | None = None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        merged = _merge(batch if last_row is None else pa.concat_tables([last_row, batch]))
        # The group of the last row may go on in the next batch.
        last_row = merged.slice(merged.num_rows - 1)
        if merged.num_rows > 1:
            yield merged.slice(0, merged.num_rows - 1)
    if last_row is not None:
        yield last_row


def _merge(rows: pa.Table) -> pa.Table:
    rows = rows.combine_chunks()
    is_first = np.concatenate(([True], ~_equals_previous(rows, "keyphrase") | ~_equals_previous(rows, "site")))
    if is_first.all():
        return rows
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, rows.num_rows))
    alone = starts[sizes == 1]
    groups = [
        _one_of(rows.slice(int(start), int(size)).to_pylist())
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)
    ]
    merged = pa.concat_tables([rows.take(pa.array(alone)), pa.Table.from_pylist(groups, schema=rows.schema)])
    order = np.argsort(np.concatenate((alone, starts[sizes > 1])), kind="stable")
    return merged.take(pa.array(order)).combine_chunks()


def _equals_previous(rows: pa.Table, name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    column = rows[name].combine_chunks()
    before, after = column.slice(0, len(column) - 1), column.slice(1)
    equal = pc.fill_null(pc.equal(before, after), False)
    both_null = pc.and_(pc.is_null(before), pc.is_null(after))
    result: np.ndarray[Any, np.dtype[np.bool_]] = pc.or_(equal, both_null).to_numpy(zero_copy_only=False)
    return result


def _one_of(group: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = min(group, key=_rank)
    united = {category for row in group for category in row["category_ids"]}
    return {**chosen, "category_ids": sorted(united)}


def _rank(row: dict[str, Any]) -> tuple[int, bool, str, bool, str]:
    volume = -1 if row["search_volume"] is None else row["search_volume"]
    language, payload = row["language"], row["payload"]
    return -volume, language is None, language or "", payload is None, payload or ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
