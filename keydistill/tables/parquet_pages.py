"""How large the pages of a Parquet file become when they are decompressed, read from their headers before that is done.

The sizes in the file's footer are only what its writer says. Page headers are what readers allocate by
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, `PageHeader`), in Thrift's compact
protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

# Of most writers a page has 1 MiB.
MAX_PAGE_BYTES = 64 << 20
# Headers hold the least and the greatest value of their page; few are longer than the first of these.
_HEADER_BYTES = (1 << 12, 1 << 20)
# Arrow's names of codecs, where they are not Parquet's in small letters; the older framing of LZ4 it has none for.
_CODECS = {"LZ4": "lz4_raw"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a column chunk.

    Attributes:
        bytes: Size of the page when it is decompressed.
        values: Number of its values; None of a dictionary.
        place, compressed: Where its content begins in the file, and how many bytes of the file that is.
    """

    bytes: int
    values: int | None
    place: int
    compressed: int


def pages_of(stream: BinaryIO, chunk: Any) -> Iterator[Page]:
    """The pages of a column chunk, by its `ColumnChunkMetaData`.

    Raises:
        ValueError: A header is damaged.
    """
    starts = [offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset]
    place = min(starts, default=0)
    end = place + chunk.total_compressed_size
    while place < end:
        header, length = _header_at(stream, place, end)
        size, compressed = header[2], header[3]
        rows = header.get(5) or header.get(8)
        place += length
        yield Page(size, rows.get(1) if isinstance(rows, dict) else None, place, compressed)
        place += compressed


def _header_at(stream: BinaryIO, place: int, end: int) -> tuple[dict[int, Any], int]:
    """Fields of the header that begins there, and its length in bytes."""
    for most in _HEADER_BYTES:
        stream.seek(place)
        cursor = _Cursor(stream.read(min(most, end - place)))
        with suppress(IndexError, RecursionError):
            header = cursor.struct()
            if header.get(2, -1) >= 0 and header.get(3, -1) >= 0:
                return header, cursor.place
    raise ValueError("the header of a page is damaged")


def has_long_text(stream: BinaryIO, chunk: Any, dictionary: Page, limit: int) -> bool:
    """Whether one value of a dictionary page of text has more bytes than `limit`; true also where that cannot be told.

    Args:
        stream: The file.
        chunk: `ColumnChunkMetaData` of the column chunk that the page is of.
        dictionary: The page; it is decompressed, so its size must be one that may be.
        limit: At least 255 bytes.
    """
    if chunk.physical_type != "BYTE_ARRAY" or dictionary.bytes <= limit:
        return False
    stream.seek(dictionary.place)
    data: Any = stream.read(dictionary.compressed)
    place = 0
    length_at = struct.Struct("<I").unpack_from
    try:
        if chunk.compression != "UNCOMPRESSED":
            data = pa.Codec(_CODECS.get(chunk.compression, chunk.compression.lower())).decompress(
                data, dictionary.bytes
            )
        end = len(data)
        if _all_are_below_256(np.frombuffer(data, np.uint8)):
            return False
        # Each value stands behind its length (PLAIN in https://parquet.apache.org/docs/file-format/data-pages/encodings).
        while place < end:
            (length,) = length_at(data, place)
            if length > limit:
                return True
            place += 4 + length
    except (pa.ArrowException, OSError, struct.error):
        return True
    return False


def _all_are_below_256(data: np.ndarray) -> bool:
    """Whether the page is one value after the other, each shorter than that: most are, and this is a fast proof.

    The three high bytes of such a length are zero. Wherever three zeros stand, a value may begin; if each of these
    values ends where the next one begins, nothing else is in the page.
    """
    zero = data == 0
    starts = np.flatnonzero(zero[1:-2] & zero[2:-1] & zero[3:])
    ends = starts + 4 + data[starts]
    return bool(len(starts) and starts[0] == 0 and ends[-1] == len(data) and (ends[:-1] == starts[1:]).all())


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
