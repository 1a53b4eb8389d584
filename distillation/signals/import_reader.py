"""The reading side of an import: files in, parsed cells out, and every row accounted for."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from keydistill.distillation.signals.validation import Columns
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import (
    Kind,
    RawBatch,
    RejectLog,
    RowProblems,
    Source,
    SourceRecord,
    is_missing,
    open_source,
    read_rows,
)

Parse = Callable[[Any], Any]
Reader = Callable[[Source], Generator[RawBatch, None, None]]


class ImportReader:
    """The reader of an import's files, which counts what happens to their rows.

    Attributes:
        rejects: The log of rows that cannot be used.
        work: An empty folder that is removed when the import ends.
        max_keyphrase_chars: A longer keyphrase is rejected.
        rows_read: Number of rows that were read so far.
        sources: Files that were read to their end.
        ignored: Rows that are none of ours, by what they are.
    """

    def __init__(
        self, rejects: RejectLog, work: Path, max_keyphrase_chars: int, progress: Progress = NO_PROGRESS
    ) -> None:
        self.rejects = rejects
        self.work = work
        self.max_keyphrase_chars = max_keyphrase_chars
        self.rows_read = 0
        self.sources: list[SourceRecord] = []
        self.ignored: dict[str, int] = {}
        self._progress = progress

    def batches(
        self,
        path: Path,
        known: Sequence[str],
        *,
        multiline: Sequence[str] = (),
        kind: Kind | None = None,
        reader: Reader | None = None,
    ) -> Iterator[RawBatch]:
        """Rows of a file as they stand there; what could not be taken apart is still in `malformed`.

        Args:
            path: The file.
            known: Columns to read.
            multiline: See `read_rows`.
            kind: See `open_source`.
            reader: Reader of a format that `tables` does not know.

        Raises:
            InputError: It cannot be read.
        """
        with open_source(path, kind) as source:
            unclosed = (
                read_rows(source, known=known, required=(), extras=False, multiline=multiline)
                if reader is None
                else reader(source)
            )
            with closing(unclosed) as batches:
                for batch in batches:
                    yield batch
                    rows = len(batch.rows) + len(batch.malformed)
                    self.rows_read += rows
                    self._progress.advance(rows)
            self.sources.append(source.record())

    def rows(
        self,
        path: Path,
        parsers: Mapping[str, Parse],
        *,
        aliases: Mapping[str, Sequence[str]] | None = None,
        multiline: Sequence[str] = (),
        kind: Kind | None = None,
        reader: Reader | None = None,
    ) -> Iterator[Columns]:
        """The rows of a file that can be used, every cell parsed; the others go to `rejects`.

        Args:
            path: The file.
            parsers: Column to what makes a value of its cell, or refuses it.
            aliases: Column to the names that it may have in the file; the first one with a value counts.
            multiline: See `read_rows`; names in the file.
            kind: See `batches`.
            reader: See `batches`.

        Raises:
            InputError: It cannot be read.
        """
        names = {name: (aliases or {}).get(name, (name,)) for name in parsers}
        known = list(dict.fromkeys(name for several in names.values() for name in several))
        for batch in self.batches(path, known, multiline=multiline, kind=kind, reader=reader):
            problems = RowProblems(batch, str(path))
            columns = {}
            for name, parse in parsers.items():
                cells = _first_of([batch.columns[alias] for alias in names[name]])
                columns[name] = problems.parsed(name, cells, parse)
            kept = problems.settle(self.rejects)
            if kept is not None:
                columns = {name: [values[place] for place in kept] for name, values in columns.items()}
            yield columns

    def ignore(self, what: str, rows: int = 1) -> None:
        """Count rows that are none of ours."""
        if rows:
            self.ignored[what] = self.ignored.get(what, 0) + rows


def _first_of(columns: Sequence[Sequence[object]]) -> Sequence[object]:
    if len(columns) == 1:
        return columns[0]
    return [
        next((value for value in row if not is_missing(value) and value != ""), None)
        for row in zip(*columns, strict=True)
    ]
