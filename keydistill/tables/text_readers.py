"""CSV, TSV and JSONL, line by line, so that one bad row costs one row."""

import csv
import io
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TextIO

from keydistill.errors import InputError
from keydistill.tables.numbers import read_float
from keydistill.tables.raw_batch import BATCH_CHARS, BATCH_ROWS, Header, MalformedRow, RawBatch
from keydistill.tables.rejects import shown
from keydistill.tables.sources import Source

MAX_LINE_CHARS = 1 << 20
_DAMAGE = re.compile("[\x00\ud800-\udfff]")


class _OverlongLineError(Exception):
    """A line is too long to be a row."""


class _Lines:
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
            raise _OverlongLineError(f"a line has more than {MAX_LINE_CHARS:,} characters")
        return line

    def give_back(self) -> None:
        """Hand out again all lines of the record but its first."""
        self._returned.extendleft(reversed(self.record[1:]))
        self.number -= len(self.record) - 1


class _Quotes:
    """The judge of records that span lines: one row, or several that a stray quote and a later one glued together.

    Such a record is not a row where the line break stands in a column that has none, nor where each of its lines would
    be a row of its own. Its first line is malformed, the others are given back, and some of them are `condemned`: they
    could be read, and would be the rest of a row.
    """

    def __init__(self, names: Sequence[str], header: Header, delimiter: str) -> None:
        self._width = len(names)
        self._delimiter = delimiter
        single_line = set(header.known) - set(header.multiline)
        self._single_line = [(place, name) for place, name in enumerate(names) if name in single_line]
        self._condemned: dict[int, str] = {}

    def problem(self, fields: Sequence[str], record: Sequence[str], line: int) -> str | None:
        """What is wrong with a record that begins in this line; None where it is a row."""
        if self._condemned and (detail := self._condemned.pop(line, None)) is not None:
            return detail
        wrong_width = len(fields) != self._width
        if len(record) > 1 and (detail := self._glued(fields, record, line, wrong_width=wrong_width)) is not None:
            return detail
        return f"has {len(fields)} field(s); expected {self._width}" if wrong_width else None

    def are_rows(self, record: Sequence[str]) -> bool:
        """Whether each line of a record has the fields of a row, its quotes taken for ordinary characters."""
        return all(text.count(self._delimiter) + 1 == self._width for text in record if not text.isspace())

    def _glued(self, fields: Sequence[str], record: Sequence[str], line: int, *, wrong_width: bool) -> str | None:
        last = line + len(record) - 1
        cure = "write a quote inside a field twice, and the field in quotes"
        broken = [name for (place, name) in self._single_line if _has_break(fields[place : place + 1])]
        if broken or wrong_width:
            self._condemned[last] = f"closes the quote that was opened in line {line}; {cure}"
            return f"has a line break in {broken[0]!r}, up to line {last}; {cure}" if broken else None
        if self.are_rows(record):
            for number, text in enumerate(record[1:], start=line + 1):
                if not text.isspace():
                    self._condemned[number] = f"may be a row or a part of the one in line {line}; {cure}"
            return f"may be one row, up to line {last}, or {len(record)} rows; {cure}"
        # A line that is no row does not become part of one.
        return next((self._condemned[each] for each in range(line + 1, last + 1) if each in self._condemned), None)


def _has_break(fields: Sequence[str]) -> bool:
    return any("\n" in text or "\r" in text for text in fields)


class _Batch:
    """Rows until they are worth handing on."""

    def __init__(self, first_row: int) -> None:
        self.next_row = first_row
        self.rows: list[int] = []
        self.lines: list[int] = []
        self.values: list[Any] = []
        self.malformed: list[MalformedRow] = []
        self.chars = 0

    def add(self, values: object, line: int, chars: int) -> None:
        self.rows.append(self.next_row)
        self.lines.append(line)
        self.values.append(values)
        self.next_row += 1
        self.chars += chars

    def add_malformed(self, detail: str, line: int, text: str) -> None:
        self.malformed.append(MalformedRow(self.next_row, line, detail, shown(text.rstrip("\r\n"))))
        self.next_row += 1

    @property
    def full(self) -> bool:
        return len(self.rows) + len(self.malformed) >= BATCH_ROWS or self.chars >= BATCH_CHARS

    def __bool__(self) -> bool:
        return bool(self.rows or self.malformed)


def read_csv(source: Source, header: Header) -> Iterator[RawBatch]:
    """Rows of a CSV or TSV file in UTF-8 with a header, quoted as RFC 4180 says."""
    with _text(source) as text:
        yield from _csv_batches(_Lines(text), source, header)


def _csv_batches(lines: _Lines, source: Source, header: Header) -> Iterator[RawBatch]:
    # Strict: a stray quote is an error here, and not a reason to swallow what follows.
    delimiter = "\t" if source.kind == "tsv" else ","
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(records)]
    except StopIteration:
        raise InputError(f"{source.path} has no header line; expected column names") from None
    except (csv.Error, _OverlongLineError) as error:
        raise InputError(f"{source.path}: the header cannot be read ({error}); expected column names") from None
    if any(_DAMAGE.search(name) for name in names):
        raise InputError(f"{source.path}: the header is not UTF-8; save the file as UTF-8 text")
    header.check(source, names)
    quotes = _Quotes(names, header, delimiter)
    if lines.number > 1 and quotes.are_rows(lines.record):
        raise InputError(
            f"{source.path}: the header goes on to line {lines.number}, because a quote opens in it; expected column "
            "names in one line"
        )

    batch = _Batch(1)
    while True:
        lines.record = []
        line = lines.number + 1
        try:
            fields = next(records)
        except StopIteration:
            break
        except (csv.Error, _OverlongLineError) as error:
            lines.give_back()
            batch.add_malformed(f"cannot be read ({error})", line, lines.record[0])
        else:
            if not fields:
                continue
            detail = quotes.problem(fields, lines.record, line)
            if detail is None:
                batch.add(fields, line, sum(map(len, lines.record)))
            else:
                lines.give_back()
                batch.add_malformed(detail, line, lines.record[0])
        if batch.full:
            yield _csv_batch(batch, names, header)
            batch = _Batch(batch.next_row)
    if batch:
        yield _csv_batch(batch, names, header)


def _csv_batch(batch: _Batch, names: Sequence[str], header: Header) -> RawBatch:
    cells_of: dict[str, Sequence[object]] = dict(zip(names, zip(*batch.values, strict=True), strict=False))
    absent: list[object] = [None] * len(batch.rows)
    columns = {name: cells_of.get(name, absent) for name in header.known}
    others = [name for name in names if name not in header.known] if header.extras else []
    extras = None
    if others and batch.rows:
        cells = zip(*(cells_of[name] for name in others), strict=True)
        extras = [dict(zip(others, row, strict=True)) for row in cells]
    return RawBatch(batch.rows, batch.lines, columns, extras, batch.malformed)


def read_jsonl(source: Source, header: Header) -> Iterator[RawBatch]:
    """Rows of a file in UTF-8 with one JSON object per line."""
    with _text(source) as text:
        yield from _jsonl_batches(_Lines(text), source, header)


def _jsonl_batches(lines: _Lines, source: Source, header: Header) -> Iterator[RawBatch]:
    decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=read_float).decode
    batch = _Batch(1)
    checked = False
    while True:
        lines.record = []
        try:
            text = next(lines)
            if text.isspace():
                continue
            row = decode(text)
            if not isinstance(row, dict):
                raise ValueError(f"is a JSON {type(row).__name__}; expected an object")
        except StopIteration:
            break
        except (ValueError, RecursionError, _OverlongLineError) as error:
            batch.add_malformed(f"cannot be read as a JSON object ({error})", lines.number, lines.record[0])
        else:
            batch.add(row, lines.number, len(text))
        if batch.full:
            yield _jsonl_batch(batch, source, header, first=not checked)
            checked = checked or bool(batch.rows)
            batch = _Batch(batch.next_row)
    if batch:
        yield _jsonl_batch(batch, source, header, first=not checked)


def _jsonl_batch(batch: _Batch, source: Source, header: Header, *, first: bool) -> RawBatch:
    objects: list[dict[str, object]] = batch.values
    names = dict.fromkeys(name for row in objects for name in row)
    # Objects may leave columns out; a column that none of the first thousands has is missing in the file.
    required = header.required if first and objects else ()
    Header(header.known, required, header.forbidden).check(source, list(names))
    columns = {name: [row.get(name) for row in objects] for name in header.known}
    extras: list[dict[str, object]] | None = None
    if header.extras and any(name not in header.known for name in names):
        known = frozenset(header.known)
        extras = [{name: value for name, value in row.items() if name not in known} for row in objects]
    return RawBatch(batch.rows, batch.lines, columns, extras, batch.malformed)


@contextmanager
def _text(source: Source) -> Iterator[TextIO]:
    # Bytes that are not UTF-8 become lone surrogates, so that they cost their row and not the file.
    text = io.TextIOWrapper(source.stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        # The stream below belongs to the caller.
        text.detach()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("has a name twice")
    return record


def _no_constant(name: str) -> object:
    raise ValueError(f"has {name}, which is not JSON")
