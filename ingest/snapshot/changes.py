"""What must be changed in a collection to bring it from one snapshot to another: a join of their Parquet parts.

The index is not looked at, so that an inventory in which nothing changed costs one pass over two sets of columns.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from keydistill.ingest.inventory import BATCH_ROWS, sorting_database
from keydistill.ingest.snapshot.parts import PART_SCHEMA
from keydistill.ingest.snapshot.snapshot import Snapshot

if TYPE_CHECKING:
    import duckdb

# Everything of a row that a point keeps: the id and the hash follow from its text, `tokens` only decides the order.
_KEPT = tuple(name for name in PART_SCHEMA.names if name not in ("point_id", "text_hash", "tokens"))


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """Numbers of rows by how two snapshots differ in them.

    Attributes:
        added: Rows of the new snapshot only.
        changed: Rows of both with different fields; their texts are the same, as the text is part of a row's identity.
        removed: Rows of the old snapshot only.
        unchanged: Rows that are the same in both.
    """

    added: int
    changed: int
    removed: int
    unchanged: int

    @property
    def any(self) -> bool:
        """Whether the snapshots differ."""
        return bool(self.added or self.changed or self.removed)


class SnapshotChanges:
    """The differences of two snapshots, while their comparison is open; `compare` makes them."""

    def __init__(self, database: "duckdb.DuckDBPyConnection", counts: ChangeCounts) -> None:
        self.counts = counts
        self._database = database

    def written(self) -> Iterator[pa.Table]:
        """Rows of the new snapshot that must be written, by `PART_SCHEMA`, shortest texts first."""
        names = ", ".join(f"new_rows.{name}" for name in PART_SCHEMA.names)
        query = f"SELECT {names} FROM new_rows SEMI JOIN written USING (point_id) ORDER BY tokens, keyphrase, site"
        with self._database.sql(query).to_arrow_reader(BATCH_ROWS) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch]).cast(PART_SCHEMA)

    def removed(self) -> Iterator[list[str]]:
        """Ids of points that must go, in lists of some thousands."""
        with self._database.sql("SELECT point_id FROM removed ORDER BY point_id").to_arrow_reader(BATCH_ROWS) as reader:
            for batch in reader:
                yield batch.column(0).to_pylist()


@contextmanager
def compare(old: Sequence[Snapshot], new: Snapshot, work: Path, memory_mb: int) -> Iterator[SnapshotChanges]:
    """Compare a new snapshot with the one that a collection was built from.

    Args:
        old: The snapshot that the collection is known to hold, then those that were begun to be applied to it and may
            be there in part. A row is left alone only if it is the same in all of them.
        new: The snapshot that the collection is to hold.
        work: Folder for what does not fit into memory.
        memory_mb: Most memory of the join, in MB.

    Raises:
        StorageError: The disk is full.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".changes-", dir=work) as spill,
        sorting_database(Path(spill), memory_mb) as database,
    ):
        _view(database, "new_rows", new)
        for number, snapshot in enumerate(old):
            _view(database, f"old_{number}", snapshot)
        numbers = range(len(old))
        database.execute(
            "CREATE TEMP TABLE written AS " + " UNION ".join(_must_be_written(f"old_{number}") for number in numbers)
        )
        any_old = " UNION ".join(f"SELECT point_id FROM old_{number}" for number in numbers)
        database.execute(f"CREATE TEMP TABLE removed AS FROM ({any_old}) ANTI JOIN new_rows USING (point_id)")
        yield SnapshotChanges(database, _counts(database, new.summary.rows))


def _must_be_written(old: str) -> str:
    differs = " OR ".join(f"new_rows.{name} IS DISTINCT FROM {old}.{name}" for name in _KEPT)
    return (
        f"SELECT new_rows.point_id FROM new_rows LEFT JOIN {old} USING (point_id) "
        f"WHERE {old}.point_id IS NULL OR {differs}"
    )


def _view(database: "duckdb.DuckDBPyConnection", name: str, snapshot: Snapshot) -> None:
    # The file names are ours; a quote in the folder's is doubled, as SQL wants it.
    files = ", ".join("'" + str(part.path).replace("'", "''") + "'" for part in snapshot.parts)
    database.execute(f"CREATE TEMP VIEW {name} AS FROM read_parquet([{files}])")


def _counts(database: "duckdb.DuckDBPyConnection", rows: int) -> ChangeCounts:
    def count(query: str) -> int:
        ((number,),) = database.execute(query).fetchall()
        return int(number)

    added = count("SELECT count(*) FROM written ANTI JOIN old_0 USING (point_id)")
    written = count("SELECT count(*) FROM written")
    removed = count("SELECT count(*) FROM removed")
    return ChangeCounts(added=added, changed=written - added, removed=removed, unchanged=rows - written)
