"""Inventory files in, inventory rows out: what `inventory check` and a snapshot have in common."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from keydistill.errors import InputError, TooManyRejectsError
from keydistill.ingest.inventory.validation import KNOWN_COLUMNS, REQUIRED_COLUMNS, RESERVED_COLUMNS, inventory_rows
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, Categories, Conventions, RejectLog, SourceRecord, open_source, read_rows


class Intake:
    """Reads inventory files once and counts what happens to their rows.

    Args:
        files: Inventory files, read in the order of their names, whatever the order in which they are given.
        max_keyphrase_chars: Length above which a keyphrase is rejected.
        rejects: Log of the rejected rows.
        categories: File of the category tree, if there is one.
        conventions: What stands for nothing in a cell, and how numbers are written.
        hash_sources: Whether to fill `sources` and `categories_source`, which takes one more read of each file.
        progress: Advanced by the number of rows read after each batch.

    Attributes:
        rows_read: Number of data rows so far, rejected ones included.
        sources: The files that were read to their end.
        categories_source: The file of the category tree.
    """

    def __init__(
        self,
        files: Sequence[Path],
        max_keyphrase_chars: int,
        rejects: RejectLog,
        *,
        categories: Path | None = None,
        conventions: Conventions = USUAL,
        hash_sources: bool = False,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        if not files:
            raise InputError("no inventory file was named; expected at least one")
        self.rejects = rejects
        self.rows_read = 0
        self.sources: list[SourceRecord] = []
        self._files = sorted(Path(file) for file in files)
        self._max_keyphrase_chars = max_keyphrase_chars
        self._conventions = conventions
        self._categories = Categories() if categories is None else Categories.read(categories)
        self.categories_source = _record(categories) if categories is not None and hash_sources else None
        self._hash_sources = hash_sources
        self._progress = progress

    @property
    def rows_accepted(self) -> int:
        """Rows so far that were not rejected."""
        return self.rows_read - self.rejects.count

    @property
    def reject_share(self) -> float:
        """Rejected rows by rows read, 0 before the first row."""
        return self.rejects.count / self.rows_read if self.rows_read else 0.0

    def rows(self) -> Iterator[pa.Table]:
        """The accepted rows in batches, by `ROW_SCHEMA`.

        Raises:
            InputError: A file cannot be read, or there is no row in any of them.
            InputChangedError: A file changed while it was being read.
        """
        for file in self._files:
            with (
                open_source(file) as source,
                closing(
                    read_rows(
                        source,
                        known=KNOWN_COLUMNS,
                        required=REQUIRED_COLUMNS,
                        forbidden=RESERVED_COLUMNS,
                        conventions=self._conventions,
                    )
                ) as batches,
            ):
                for batch in batches:
                    rejected = self.rejects.count
                    table = inventory_rows(batch, str(file), self._max_keyphrase_chars, self._categories, self.rejects)
                    rows = table.num_rows + self.rejects.count - rejected
                    self.rows_read += rows
                    if table.num_rows:
                        yield table
                    self._progress.advance(rows)
                if self._hash_sources:
                    self.sources.append(source.record())
        if self.rows_read == 0:
            names = ", ".join(str(file) for file in self._files)
            raise InputError(f"{names}: no rows; expected at least one below the header")

    def check_share(self, max_reject_share: float, rejects_file: Path | None = None) -> None:
        """Compare the share of rejected rows with what is allowed; call it when all rows were read.

        Raises:
            TooManyRejectsError: The share is larger, or no row was accepted. The message says why rows were rejected,
                and names the file that has them.
        """
        where = f"; all of them: {rejects_file}" if rejects_file else ""
        reasons = ", ".join(f"{name} {count:,}" for name, count in list(self.rejects.by_reason.items())[:3])
        if self.reject_share > max_reject_share:
            raise TooManyRejectsError(
                f"{self.rejects.count:,} of {self.rows_read:,} rows were rejected ({self.reject_share:.2%}), more than "
                f"max_reject_share allows ({max_reject_share:.2%}); mostly: {reasons}{where}; correct the rows, or "
                "raise KEYDISTILL_MAX_REJECT_SHARE if they are meant to go"
            )
        if self.rows_accepted == 0:
            raise TooManyRejectsError(f"all {self.rows_read:,} rows were rejected; mostly: {reasons}{where}")


def _record(file: Path) -> SourceRecord:
    with open_source(file) as source:
        return source.record()
