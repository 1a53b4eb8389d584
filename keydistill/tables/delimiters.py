"""What separates the cells of a text file, and whether its first line names the columns: said by the text itself.

Exports are named .csv and hold tabs or semicolons, and .txt says nothing at all. A line `sep=;`, which Excel writes and
obeys, is believed; otherwise the first line is read with each separator, and the one counts that finds most columns.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from keydistill.tables.raw_batch import Header
from keydistill.tables.sources import Kind
from keydistill.tables.text_lines import Lines

_SEPARATORS = (",", "\t", ";", "|")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Layout:
    """The separator of a file's cells, and whether it begins with the names of its columns."""

    delimiter: str
    has_header: bool


def layout_of(lines: Lines, kind: Kind, header: Header) -> Layout:
    """The layout of the text whose first line comes next; blank lines before it, and `sep=`, are passed over."""
    own = "\t" if kind == "tsv" else ","
    candidates = [own, *(each for each in _SEPARATORS if each != own)]
    while first := lines.peek():
        if named := _SEPARATOR_LINE.fullmatch(first):
            candidates = [named[1]]
        elif first.strip(" \t\r\n,;"):
            break
        next(lines)
    fields = {delimiter: _fields(first, delimiter) for delimiter in candidates}
    # Of equals the first, which is the file's own.
    best = max(candidates, key=lambda delimiter: header.columns_in(fields[delimiter]))
    if not header.columns_in(fields[best]) and fields[candidates[0]]:
        # For the message, which shows what was found in the place of names.
        best = max(candidates, key=lambda delimiter: len(fields[delimiter]))
    if header.headerless and not header.columns_in(fields[best]):
        for delimiter in (each for each in ("\t", *candidates) if each in fields):
            if len(fields[delimiter]) == len(header.headerless):
                return Layout(delimiter, has_header=False)
    return Layout(best, has_header=True)


def _fields(line: str, delimiter: str) -> Sequence[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
    except csv.Error:
        return []
