"""Text, line by line and bounded, and the rows that its lines become."""

import io
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, TextIO

from keydistill.tables.raw_batch import BATCH_CHARS, BATCH_ROWS, MalformedRow
from keydistill.tables.rejects import shown
from keydistill.tables.sources import Source

MAX_LINE_CHARS = 1 << 20


class OverlongLineError(Exception):
    """A line is too long to be a row."""


class Lines:
    """Lines of a text, bounded in length, that can be given back when a CSV record turns out to be none.

    A quote that is never closed swallows the rows after it. Giving back all lines of such a record but the first one
    costs one row instead.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._returned: deque[str] = deque()
        self.number = 0
        self.record: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._text.readline(MAX_LINE_CHARS)
        if not line:
            raise StopIteration
        self.number += 1
        self.record.append(line)
        if len(line) >= MAX_LINE_CHARS and line[-1] not in "\r\n":
            # Nothing of the rest is needed; after `give_back` there is no rest any more.
            while not self._returned and (rest := self._text.readline(MAX_LINE_CHARS)):
                if rest[-1] in "\r\n":
                    break
            raise OverlongLineError(f"a line has more than {MAX_LINE_CHARS:,} characters")
        return line

    def peek(self) -> str:
        """The next line, which stays the next one; "" at the end of the text, or where it is too long to be a row."""
        if not self._returned:
            line = self._text.readline(MAX_LINE_CHARS)
            if not line:
                return ""
            self._returned.append(line)
        line = self._returned[0]
        return line if len(line) < MAX_LINE_CHARS or line[-1] in "\r\n" else ""

    def take(self, chars: int) -> str:
        """The next characters, at most so many, whatever lines they are; "" at the end."""
        return self._returned.popleft() if self._returned else self._text.read(chars)

    def give_back(self) -> None:
        """Hand out again all lines of the record but its first."""
        self._returned.extendleft(reversed(self.record[1:]))
        self.number -= len(self.record) - 1


class RowBuffer:
    """Rows until they are worth handing on."""

    def __init__(self, first_row: int) -> None:
        self.next_row = first_row
        self.rows: list[int] = []
        self.lines: list[int] | None = []
        self.values: list[Any] = []
        self.malformed: list[MalformedRow] = []
        self.chars = 0

    def add(self, values: object, line: int, chars: int) -> None:
        """Add a row, as the reader keeps it, that begins in this line."""
        self.rows.append(self.next_row)
        if self.lines is not None:
            self.lines.append(line)
        self.values.append(values)
        self.next_row += 1
        self.chars += chars

    def add_malformed(self, detail: str, line: int, text: str) -> None:
        """Add a row that cannot be taken apart."""
        self.malformed.append(MalformedRow(self.next_row, line, detail, shown(text.rstrip("\r\n"))))
        self.next_row += 1

    @property
    def full(self) -> bool:
        """Whether the rows are worth handing on."""
        return len(self.rows) + len(self.malformed) >= BATCH_ROWS or self.chars >= BATCH_CHARS

    def __bool__(self) -> bool:
        return bool(self.rows or self.malformed)


@contextmanager
def text_of(source: Source) -> Iterator[TextIO]:
    """The text of a file in UTF-8, with a byte order mark or without."""
    # Bytes that are not UTF-8 become lone surrogates, so that they cost their row and not the file.
    text = io.TextIOWrapper(source.stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        # The stream below belongs to the caller.
        text.detach()
