"""How large the pages of a Parquet file become when they are decompressed, read from their headers before that is done.

The sizes in the file's footer are only what its writer says. Page headers are what readers allocate by
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, `PageHeader`), in Thrift's compact
protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

# Of most writers a page has 1 MiB.
MAX_PAGE_BYTES = 64 << 20
# Headers hold the least and the greatest value of their page.
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """Bytes of a page when it is decompressed, and the number of its values; None of a dictionary."""

    bytes: int
    values: int | None


def pages_of(stream: BinaryIO, chunk: Any) -> Iterator[Page]:
    """The pages of a column chunk, by its `ColumnChunkMetaData`.

    Raises:
        ValueError: A header is damaged.
    """
    starts = [offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset]
    place = min(starts, default=0)
    end = place + chunk.total_compressed_size
    while place < end:
        stream.seek(place)
        cursor = _Cursor(stream.read(min(_HEADER_BYTES, end - place)))
        try:
            header = cursor.struct()
            size, compressed = header[2], header[3]
        except (IndexError, KeyError, RecursionError):
            raise ValueError("the header of a page is damaged") from None
        if size < 0 or compressed < 0:
            raise ValueError("the header of a page is damaged")
        rows = header.get(5) or header.get(8)
        yield Page(size, rows.get(1) if isinstance(rows, dict) else None)
        place += cursor.place + compressed


class _Cursor:
    """Reads Thrift's compact protocol: numbers and structures, by the numbers of their fields; no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._signed()
            # A boolean field is its own value.
            fields[number] = None if kind & 15 in (1, 2) else self._value(kind & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind == 12:
            return self.struct()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (1, 2, 3):
            self.place += 1
        elif kind == 7:
            self.place += 8
        elif kind == 8:
            length = self._unsigned()
            self.place += length
        elif kind in (9, 10):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._unsigned()):
                self._value(head & 15)
        else:
            raise IndexError(kind)
        return None

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)
