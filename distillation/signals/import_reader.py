"""The reading side of an import: files in, parsed cells out, and every row accounted for."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from keydistill.distillation.signals.validation import Columns
from keydistill.errors import InputError
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import (
    USUAL,
    Conventions,
    Kind,
    RawBatch,
    RejectLog,
    RowProblems,
    Source,
    SourceRecord,
    field_cell,
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
        work: Empty folder that is removed when the import ends.
        max_keyphrase_chars: Most characters of a keyphrase; a longer one is rejected.
        rows_read: Number of rows that were read so far.
        sources: Records of the files that were read to their end.
        ignored: Number of rows that do not belong to the import, by what they are.
        fields: Functions that make a value of a cell, by the free field of items that is to be kept.
    """

    def __init__(
        self,
        rejects: RejectLog,
        work: Path,
        max_keyphrase_chars: int,
        conventions: Conventions = USUAL,
        progress: Progress = NO_PROGRESS,
        *,
        fields: Sequence[str] = (),
    ) -> None:
        self.rejects = rejects
        self.work = work
        self.max_keyphrase_chars = max_keyphrase_chars
        self.rows_read = 0
        self.sources: list[SourceRecord] = []
        self.ignored: dict[str, int] = {}
        self.fields: Mapping[str, Parse] = dict.fromkeys(fields, field_cell)
        self._conventions = conventions
        self._progress = progress

    def batches(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        multiline: Sequence[str] = (),
        headerless: Sequence[str] = (),
        kind: Kind | None = None,
        reader: Reader | None = None,
    ) -> Iterator[RawBatch]:
        """The rows of a file as they stand there; those that could not be split into cells are in `malformed`.

        Args:
            path: File to read.
            columns: Columns to read.
            multiline: Columns whose cells may hold line breaks (`read_rows`).
            headerless: Columns of a file without a header (`read_rows`).
            kind: Kind of the file; None goes by its name (`open_source`).
            reader: Reader of a format that `tables` does not know.

        Raises:
            InputError: It cannot be read.
        """
        with open_source(path, kind) as source:
            unclosed = (
                read_rows(
                    source,
                    known=columns,
                    required=(),
                    extras=False,
                    multiline=multiline,
                    headerless=headerless,
                    conventions=self._conventions,
                )
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
        headerless: Sequence[str] = (),
        kind: Kind | None = None,
        reader: Reader | None = None,
    ) -> Iterator[Columns]:
        """The rows of a file that can be used, every cell parsed; the others go to `rejects`.

        Args:
            path: File to read.
            parsers: Functions that make a value of a column's cell or refuse it, by column.
            aliases: Names that a column may have in the file, by column; the first one with a value counts.
            multiline: Columns of the file whose cells may hold line breaks (`read_rows`).
            headerless: Columns of a file without a header (`read_rows`).
            kind: Kind of the file, as in `batches`.
            reader: Reader of the format, as in `batches`.

        Raises:
            InputError: It cannot be read.
        """
        names = {name: (aliases or {}).get(name, (name,)) for name in parsers}
        column_names = list(dict.fromkeys(name for several in names.values() for name in several))
        for batch in self.batches(
            path, column_names, multiline=multiline, headerless=headerless, kind=kind, reader=reader
        ):
            problems = RowProblems(batch, str(path))
            columns = {}
            for name, parse in parsers.items():
                cells = _first_of([batch.columns[alias] for alias in names[name] if alias in batch.columns])
                columns[name] = problems.parsed(name, cells, parse)
            usable_rows = problems.settle(self.rejects)
            if usable_rows is not None:
                columns = {name: [values[place] for place in usable_rows] for name, values in columns.items()}
            yield columns

    def item_rows(
        self, path: Path, parsers: Mapping[str, Parse], *, multiline: Sequence[str] = (), **options: Any
    ) -> Iterator[Columns]:
        """The rows of a file of items, with their free fields, whose cells may hold line breaks; as in `rows`.

        Raises:
            InputError: A field has the name of something that the importer reads itself.
        """
        self.check_fields(parsers)
        return self.rows(path, {**parsers, **self.fields}, multiline=(*multiline, *self.fields), **options)

    def check_fields(self, parsers: Iterable[str]) -> None:
        """Check that no field that is to be kept has the name of something that the importer reads itself.

        Raises:
            InputError: One has.
        """
        taken = [name for name in parsers if name in self.fields]
        if taken:
            raise InputError(
                f"{taken[0]!r} cannot be kept as a field: the import reads it as something else; name another column "
                "of the items, such as brand"
            )

    def ignore(self, description: str, rows: int = 1) -> None:
        """Count rows that do not belong to the import, by what they are."""
        if rows:
            self.ignored[description] = self.ignored.get(description, 0) + rows


def _first_of(columns: Sequence[Sequence[object]]) -> Sequence[object]:
    if len(columns) == 1:
        return columns[0]
    return [
        next((value for value in row if not is_missing(value) and value != ""), None)
        for row in zip(*columns, strict=True)
    ]
