"""What a reader hands on: rows as they stand in a file, in columns, and what it expects of a file's header."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keydistill.errors import InputError
from keydistill.tables.rejects import Reason, Reject
from keydistill.tables.sources import Source

BATCH_ROWS = 8_192
BATCH_CHARS = 8 << 20


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A row that could not be taken apart into columns."""

    row: int
    line: int | None
    detail: str
    value: str | None

    def reject(self, source: str) -> Reject:
        """The reject that it becomes; `source` is the file as it was named."""
        return Reject(source, self.row, self.line, None, Reason.MALFORMED_ROW, self.detail, self.value)


@dataclass(slots=True)
class RawBatch:
    """Rows as they stand in a file.

    Attributes:
        rows: 1-based number of each row in the file.
        lines: 1-based number of each row's first line, None in Parquet.
        columns: Every known column, each as long as `rows`; None where a row or file does not have it.
        extras: The other columns of each row, None where the file has none or nobody wants them.
        malformed: Rows in between that could not be taken apart; they are not in `rows`.
    """

    rows: Sequence[int]
    lines: Sequence[int] | None
    columns: Mapping[str, Sequence[object]]
    extras: Sequence[Mapping[str, object]] | None
    malformed: list[MalformedRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Header:
    """The columns that a caller knows, needs, and does not allow; and whether it wants to see the others.

    A line break in a known column of CSV damages the row, but for the `multiline` ones.
    """

    known: Sequence[str]
    required: Sequence[str]
    forbidden: Sequence[str] = ()
    extras: bool = True
    multiline: Sequence[str] = ()

    def check(self, source: Source, header: Sequence[str]) -> None:
        """Check the columns of a file.

        Raises:
            InputError: One is missing, without a name, there twice, or forbidden.
        """
        listed = ", ".join(header[:30]) + (", ..." if len(header) > 30 else "") or "none"
        for name in self.required:
            if name not in header:
                hint = "; separate them by commas" if len(header) == 1 and ";" in header[0] else ""
                raise InputError(f"{source.path} has no column {name!r}; found: {listed}{hint}")
        if "" in header:
            raise InputError(f"{source.path}: column {list(header).index('') + 1} has no name; found: {listed}")
        for name in header:
            if name in self.forbidden:
                raise InputError(
                    f"{source.path}: the column name {name!r} is taken by a field that keydistill adds; rename it"
                )
        if len(set(header)) < len(header):
            twice = next(name for name in header if list(header).count(name) > 1)
            raise InputError(f"{source.path} has the column {twice!r} more than once; rename or drop one")
