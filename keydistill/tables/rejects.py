"""Rows that were not accepted: why, where they stand, and the file that keeps them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.files import whole_file

VALUE_CHARS = 80
EXAMPLES_PER_REASON = 5
_BUFFERED_REJECTS = 10_000

REJECT_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("line", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("value", pa.string()),
    ]
)


class Reason(StrEnum):
    """Why a row is rejected. The codes are stable: programs may rely on them."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    NOT_TEXT = "not_text"
    CONTROL_CHARACTER = "control_character"
    BAD_ENCODING = "bad_encoding"
    BAD_NUMBER = "bad_number"
    BAD_CATEGORY = "bad_category"
    BAD_PAYLOAD = "bad_payload"
    BAD_LABEL = "bad_label"
    CONTRADICTION = "contradiction"
    UNKNOWN_REFERENCE = "unknown_reference"
    MALFORMED_ROW = "malformed_row"
    SPREADSHEET_ERROR = "spreadsheet_error"


class RejectedValueError(ValueError):
    """A value that makes its row unusable; it becomes a reject and never leaves this package."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that was not accepted, with the first problem that was found in it.

    Attributes:
        source: The file as it was named.
        row: 1-based number of the data row; a header or a blank line is no row.
        line: 1-based number of the row's first line in a text file, None in Parquet.
        column: The column at fault, None when it is the row as a whole.
        reason: Stable code.
        detail: What was found and what was expected.
        value: The value, at most 80 characters of it and escaped.
    """

    source: str
    row: int
    line: int | None
    column: str | None
    reason: Reason
    detail: str
    value: str | None

    def as_dict(self) -> dict[str, Any]:
        """The attributes by name, fit for JSON."""
        return {name: getattr(self, name) for name in REJECT_SCHEMA.names}


def shown(value: object) -> str | None:
    r"""`value` as a person may safely see it: escaped, and cut to 80 characters.

    >>> shown("a\x00b")
    'a\\x00b'
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    escaped = repr(text[:VALUE_CHARS])[1:-1]
    cut = len(text) > VALUE_CHARS or len(escaped) > VALUE_CHARS
    return escaped[:VALUE_CHARS] + ("…" if cut else "")


class RejectLog:
    """Counts rejects, keeps the first few of each reason, and writes all of them to `path` if there is one."""

    def __init__(self, path: Path | None = None) -> None:
        self.count = 0
        self.examples: list[Reject] = []
        self._by_reason: dict[Reason, int] = {}
        self._waiting: list[Reject] = []
        self._writer = None if path is None else pq.ParquetWriter(path, REJECT_SCHEMA, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def by_reason(self) -> Mapping[str, int]:
        """Reasons, each with its number of rejects, the most frequent first."""
        return {
            str(reason): count
            for reason, count in sorted(self._by_reason.items(), key=lambda item: (-item[1], item[0]))
        }

    def add(self, reject: Reject) -> None:
        """Count and keep one reject."""
        self.count += 1
        earlier = self._by_reason.get(reject.reason, 0)
        self._by_reason[reject.reason] = earlier + 1
        if earlier < EXAMPLES_PER_REASON:
            self.examples.append(reject)
        if self._writer is not None:
            self._waiting.append(reject)
            if len(self._waiting) >= _BUFFERED_REJECTS:
                self._flush()

    def close(self) -> None:
        """Write what is still held back and close the file. Closing twice does nothing."""
        if self._writer is None:
            return
        writer = self._writer
        try:
            self._flush()
        finally:
            self._writer = None
            writer.close()

    def _flush(self) -> None:
        if self._writer is not None and self._waiting:
            rows = [reject.as_dict() for reject in self._waiting]
            self._waiting = []
            self._writer.write_table(pa.Table.from_pylist(rows, schema=REJECT_SCHEMA))


@contextmanager
def rejects_file(path: Path) -> Iterator[RejectLog]:
    """A log whose file is there when the block has ended well, unless there were no rejects.

    Then a file of that name, which is about an earlier attempt, is removed.
    """
    with whole_file(path) as draft:
        with RejectLog(draft) as rejects:
            yield rejects
        if not rejects.count:
            draft.unlink()
            path.unlink(missing_ok=True)
