"""What a reader hands on: rows as they stand in a file, in columns, and what it expects of a file's header."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keydistill.errors import InputError
from keydistill.tables.column_names import ALIASES
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

    Attributes:
        known: Columns that the caller reads.
        required: Columns without which the file is useless.
        forbidden: Names that no column may have.
        extras: Whether the other columns are wanted.
        multiline: Known columns whose text may have line breaks; in others one damages a row of CSV.
        aliases: Names that others give a known column, written as `plain_name` has them, the usual one first.
        headerless: Columns of a file that has no header; empty where every file needs one.
    """

    known: Sequence[str]
    required: Sequence[str]
    forbidden: Sequence[str] = ()
    extras: bool = True
    multiline: Sequence[str] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=lambda: ALIASES)
    headerless: Sequence[str] = ()

    def renamed(self, names: Sequence[str]) -> list[str]:
        """The names of a file's columns, where the names of others for known columns have become ours.

        A column that the file has by our name is never another one, and a column of the file is one of ours at most.
        """
        ours = list(names)
        places = {plain_name(name): place for place, name in reversed(list(enumerate(names))) if name not in self.known}
        for column in self.known:
            for name in () if column in ours else (plain_name(column), *self.aliases.get(column, ())):
                place = places.pop(name, None)
                if place is not None:
                    ours[place] = column
                    break
        return ours

    def columns_in(self, names: Sequence[str]) -> int:
        """How many of the names are those of known columns."""
        return sum(name in self.known for name in self.renamed(names))

    def check(self, source: Source, header: Sequence[str]) -> None:
        """Check the columns of a file, by our names.

        Raises:
            InputError: One is missing, without a name, there twice, or forbidden.
        """
        listed = ", ".join(map(_shown, header[:30])) + (", ..." if len(header) > 30 else "") or "none"
        for name in self.required:
            if name not in header:
                aliases = ", ".join(self.aliases.get(name, ())[:6])
                also = f" (or {aliases})" if aliases else ""
                if not any(each in self.known for each in header):
                    raise InputError(
                        f"{source.path} has no column {name!r}{also}; found: {listed}; if that is a row, a header is "
                        "missing: add a first line with the names of the columns"
                    )
                raise InputError(f"{source.path} has no column {name!r}{also}; found: {listed}")
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


def plain_name(name: str) -> str:
    """A column's name in lower case, its words joined by underscores.

    >>> plain_name("Search Term"), plain_name("docId"), plain_name("_id")
    ('search_term', 'doc_id', 'id')
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower()


def _shown(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"
