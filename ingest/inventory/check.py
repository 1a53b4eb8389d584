"""The check of an inventory: everything that a run would find wrong with it, before there is a run."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.files import storage_errors
from keydistill.ingest.inventory.intake import Intake
from keydistill.ingest.inventory.merging import sorting_database
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, CategoryHints, Conventions, Reject, RejectLog, total_rows

if TYPE_CHECKING:
    import duckdb

SAMPLED_KEYPHRASES = 512
_KEY_SCHEMA = pa.schema([("site", pa.string()), ("keyphrase", pa.string()), ("has_category", pa.bool_())])


class InventorySettings(Protocol):
    """The settings that decide what an inventory row may be; `SnapshotSettings` and `Settings` have them."""

    @property
    def max_reject_share(self) -> float:
        """Share of rejected rows above which a run fails."""

    @property
    def max_keyphrase_chars(self) -> int:
        """Length above which a keyphrase is rejected."""

    @property
    def memory_mb(self) -> int:
        """Memory for finding duplicates before it spills to disk."""


@dataclass(frozen=True, slots=True)
class InventoryReport:
    """What a snapshot of some inventory files would hold.

    Attributes:
        files: Names of the files as they were given, sorted.
        rows_read: Number of data rows in all files.
        rows_rejected: Number of rows that cannot be used.
        rows_merged: Number of accepted rows that another row of the same site and keyphrase absorbs.
        rows: Number of keyphrases that the snapshot would have.
        without_category: Number of keyphrases that only queries without a category filter find.
        rejects_by_reason: Reasons, each with its number of rejected rows, the most frequent first.
        examples: The first few rejects of each reason.
        longest_keyphrase: The longest accepted keyphrase in characters, after normalisation.
        sample: Some hundred accepted keyphrases, evenly chosen, to measure how long work on all of them takes.
        max_reject_share: Share of rejected rows that is allowed.
        hints: What looks misread, a sentence each.
    """

    files: tuple[str, ...]
    rows_read: int
    rows_rejected: int
    rows_merged: int
    rows: int
    without_category: int
    rejects_by_reason: Mapping[str, int]
    examples: tuple[Reject, ...]
    longest_keyphrase: str
    sample: tuple[str, ...]
    max_reject_share: float
    hints: tuple[str, ...] = ()

    @property
    def reject_share(self) -> float:
        """Rejected rows by rows read."""
        return self.rows_rejected / self.rows_read

    @property
    def without_category_share(self) -> float:
        """Keyphrases without a category by keyphrases."""
        return self.without_category / self.rows if self.rows else 0.0

    @property
    def passes(self) -> bool:
        """Whether a run would accept the inventory."""
        return self.rows > 0 and self.reject_share <= self.max_reject_share

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "files": list(self.files),
            "rows_read": self.rows_read,
            "rows_rejected": self.rows_rejected,
            "reject_share": self.reject_share,
            "max_reject_share": self.max_reject_share,
            "rejects_by_reason": dict(self.rejects_by_reason),
            "examples": [reject.as_dict() for reject in self.examples],
            "rows_merged": self.rows_merged,
            "rows": self.rows,
            "without_category": self.without_category,
            "without_category_share": self.without_category_share,
            "hints": list(self.hints),
            "longest_keyphrase": self.longest_keyphrase,
            "longest_keyphrase_chars": len(self.longest_keyphrase),
            "passes": self.passes,
        }


def check_inventory(
    files: Sequence[Path],
    settings: InventorySettings,
    *,
    categories: Path | None = None,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> InventoryReport:
    """Read and validate an inventory as a run would, and write nothing that lasts.

    Args:
        files: CSV, TSV, JSONL (each also with .gz) or Parquet.
        settings: Limits of what is allowed.
        categories: File of the category tree, if `category_ids` are to get their ancestors.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Told of the step "inventory" with the number of rows where it is known, and advanced by the rows read.

    Raises:
        InputError: A file as a whole cannot be used. Too many rejects are no error here: see `passes`.
        StorageError: The folder for temporary files is full.
    """
    longest = ""
    with tempfile.TemporaryDirectory(prefix="keydistill-") as folder, RejectLog() as rejects:
        work = Path(folder)
        hints = CategoryHints()
        intake = Intake(
            files,
            settings.max_keyphrase_chars,
            rejects,
            categories=categories,
            conventions=conventions,
            progress=progress,
        )
        keys = work / "keys.parquet"
        progress.start("inventory", total_rows([Path(file) for file in files]), "rows")
        with storage_errors(work), pq.ParquetWriter(keys, _KEY_SCHEMA) as writer:
            for table in intake.rows():
                longest = max(longest, _longest(table["keyphrase"]), key=lambda text: (len(text), text))
                has_category = pc.greater(pc.list_value_length(table["category_ids"]), 0)
                for cell in table["category_ids"].to_pylist():
                    hints.see(cell)
                writer.write_table(pa.table([table["site"], table["keyphrase"], has_category], schema=_KEY_SCHEMA))
        with sorting_database(work, settings.memory_mb) as database:
            rows, without_category = _count_keys(database, keys)
            sample = _sample(database, keys)
    return InventoryReport(
        files=tuple(sorted(str(file) for file in files)),
        rows_read=intake.rows_read,
        rows_rejected=rejects.count,
        rows_merged=intake.rows_accepted - rows,
        rows=rows,
        without_category=without_category,
        rejects_by_reason=rejects.by_reason,
        examples=tuple(rejects.examples),
        longest_keyphrase=longest,
        sample=sample,
        max_reject_share=settings.max_reject_share,
        hints=hints.lines(),
    )


def _longest(keyphrases: pa.ChunkedArray) -> str:
    lengths = pc.utf8_length(keyphrases)
    longest = keyphrases.filter(pc.equal(lengths, pc.max(lengths)))
    result: str = pc.max(longest).as_py()
    return result


def _count_keys(database: "duckdb.DuckDBPyConnection", keys: Path) -> tuple[int, int]:
    query = """
        SELECT count(*), count(*) FILTER (NOT categorised)
        FROM (
            SELECT bool_or(has_category) AS categorised
            FROM read_parquet($keys)
            GROUP BY site, keyphrase
        )
    """
    return database.execute(query, {"keys": str(keys)}).fetchone() or (0, 0)


def _sample(database: "duckdb.DuckDBPyConnection", keys: Path) -> tuple[str, ...]:
    # In the order of hashes: an even choice that does not depend on the order of the rows.
    query = "SELECT keyphrase FROM read_parquet($keys) ORDER BY md5(keyphrase), keyphrase LIMIT $count"
    rows = database.execute(query, {"keys": str(keys), "count": SAMPLED_KEYPHRASES}).fetchall()
    return tuple(row[0] for row in rows)
