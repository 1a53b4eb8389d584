"""CSV and TSV, line by line, so that one bad row costs one row."""

import csv
import re
from collections.abc import Iterator, Sequence

from keydistill.errors import InputError
from keydistill.tables.delimiters import layout_of
from keydistill.tables.raw_batch import Header, RawBatch
from keydistill.tables.sources import Source
from keydistill.tables.text_lines import Lines, OverlongLineError, RowBuffer, text_of

_DAMAGE = re.compile("[\x00\ud800-\udfff]")


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


def read_csv(source: Source, header: Header) -> Iterator[RawBatch]:
    """Rows of a CSV or TSV file in UTF-8 with a header, quoted as RFC 4180 says."""
    with text_of(source) as text:
        yield from _csv_batches(Lines(text), source, header)


def _csv_batches(lines: Lines, source: Source, header: Header) -> Iterator[RawBatch]:
    layout = layout_of(lines, source.kind, header)
    # Strict: a stray quote is an error here, and not a reason to swallow what follows.
    records = csv.reader(lines, delimiter=layout.delimiter, strict=True)
    names = _names(lines, records, source, header) if layout.has_header else list(header.headerless)
    quotes = _Quotes(names, header, layout.delimiter)
    if lines.number > 1 and len(lines.record) > 1 and quotes.are_rows(lines.record):
        raise InputError(
            f"{source.path}: the header goes on to line {lines.number}, because a quote opens in it; expected column "
            "names in one line"
        )

    batch = RowBuffer(1)
    while True:
        lines.record = []
        line = lines.number + 1
        try:
            fields = next(records)
        except StopIteration:
            break
        except (csv.Error, OverlongLineError) as error:
            lines.give_back()
            batch.add_malformed(f"cannot be read ({error})", line, lines.record[0])
        else:
            # Spreadsheets write the rows below a table as separators alone.
            if not any(map(str.strip, fields)):
                continue
            detail = quotes.problem(fields, lines.record, line)
            if detail is None:
                batch.add(fields, line, sum(map(len, lines.record)))
            else:
                lines.give_back()
                batch.add_malformed(detail, line, lines.record[0])
        if batch.full:
            yield _csv_batch(batch, names, header)
            batch = RowBuffer(batch.next_row)
    if batch:
        yield _csv_batch(batch, names, header)


def _names(lines: Lines, records: Iterator[list[str]], source: Source, header: Header) -> list[str]:
    lines.record = []
    try:
        names = [name.strip() for name in next(records)]
    except StopIteration:
        raise InputError(f"{source.path} has no header line; expected column names") from None
    except (csv.Error, OverlongLineError) as error:
        raise InputError(f"{source.path}: the header cannot be read ({error}); expected column names") from None
    if any(_DAMAGE.search(name) for name in names):
        raise InputError(f"{source.path}: the header is not UTF-8; save the file as UTF-8 text")
    names = header.renamed(names)
    header.check(source, names)
    return names


def _csv_batch(batch: RowBuffer, names: Sequence[str], header: Header) -> RawBatch:
    cells_of: dict[str, Sequence[object]] = dict(zip(names, zip(*batch.values, strict=True), strict=False))
    absent: list[object] = [None] * len(batch.rows)
    columns = {name: cells_of.get(name, absent) for name in header.known}
    others = [name for name in names if name not in header.known] if header.extras else []
    extras = None
    if others and batch.rows:
        cells = zip(*(cells_of[name] for name in others), strict=True)
        extras = [dict(zip(others, row, strict=True)) for row in cells]
    return RawBatch(batch.rows, batch.lines, columns, extras, batch.malformed)
