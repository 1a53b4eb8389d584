"""Input files: which formats there are, and proof that a file did not change while it was read."""

import gzip
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.errors import InputChangedError, InputError

Kind = Literal["csv", "tsv", "jsonl", "json", "parquet"]

# End of the file name, what it means, and whether the content is gzip.
_SUFFIXES: tuple[tuple[str, Kind, bool], ...] = (
    (".csv", "csv", False),
    (".csv.gz", "csv", True),
    (".tsv", "tsv", False),
    (".tsv.gz", "tsv", True),
    (".jsonl", "jsonl", False),
    (".jsonl.gz", "jsonl", True),
    (".ndjson", "jsonl", False),
    (".ndjson.gz", "jsonl", True),
    (".json", "json", False),
    (".json.gz", "json", True),
    # Its first line says what separates its cells.
    (".txt", "tsv", False),
    (".txt.gz", "tsv", True),
    (".parquet", "parquet", False),
)
_EXPECTED = "expected .csv, .tsv, .txt, .jsonl, .ndjson or .json (each also with .gz), or .parquet"

# First bytes that say what a file really is.
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PAR1", "Parquet"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PK\x03\x04", "a zip archive (a spreadsheet?)"),
)
_SNIFFED_BYTES = 1_024

Fingerprint = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A file that was read; `sha256` is of its bytes on the disk."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """An open input file; `stream` gives its bytes, decompressed."""

    path: Path
    kind: Kind
    stream: BinaryIO
    raw: BufferedReader
    fingerprint: Fingerprint

    @property
    def bytes(self) -> int:
        """Size of the file as it lies on the disk."""
        return self.fingerprint[2]

    def check_unchanged(self) -> None:
        """Compare the file, and what its name leads to now, with what was opened.

        Raises:
            InputChangedError: It grew, shrank, was written, replaced or removed.
        """
        try:
            same = _fingerprint(os.fstat(self.raw.fileno())) == self.fingerprint == _fingerprint(os.stat(self.path))
        except OSError:
            same = False
        if not same:
            raise InputChangedError(
                f"{self.path} changed while it was being read; write a new file beside it, rename it into place when "
                "it is complete, and run again"
            )

    def sha256(self) -> str:
        """SHA-256 of the file's bytes as they lie on the disk; reads it once more.

        Raises:
            InputChangedError: It is no longer the file that was opened.
        """
        self.raw.seek(0)
        digest = hashlib.file_digest(self.raw, "sha256").hexdigest()
        self.check_unchanged()
        return digest

    def record(self) -> SourceRecord:
        """Name, size and SHA-256 of the file; reads it once more.

        Raises:
            InputChangedError: It is no longer the file that was opened.
        """
        return SourceRecord(str(self.path), self.bytes, self.sha256())


@contextmanager
def open_source(path: Path, kind: Kind | None = None) -> Iterator[Source]:
    """Open a file by its extension.

    Args:
        path: The file.
        kind: What it is where the extension says something else; ".gz" still says that it is compressed.

    Raises:
        InputError: It does not exist, is no readable regular file, is empty, has an unknown extension, or its first
            bytes say that it is something else than its extension.
    """
    if kind is None:
        kind, zipped = _kind_of(path)
    else:
        zipped = path.name.lower().endswith(".gz")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder; name the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is no regular file; write its content to a file first")
        raw = open(path, "rb")  # noqa: SIM115 - closed below, whichever way the caller leaves
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the name") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with raw:
        fingerprint = _fingerprint(os.fstat(raw.fileno()))
        if fingerprint[2] == 0:
            raise InputError(f"{path} is empty (0 bytes); expected a header and rows")
        _check_first_bytes(path, raw, "gzip" if zipped else kind)
        if not zipped:
            yield Source(path, kind, raw, raw, fingerprint)
            return
        with gzip.GzipFile(fileobj=raw) as unzipped:
            yield Source(path, kind, cast(BinaryIO, unzipped), raw, fingerprint)


def total_rows(paths: list[Path]) -> int | None:
    """Rows in all files together where that is known beforehand, which only Parquet says; otherwise None."""
    if not all(path.suffix.lower() == ".parquet" for path in paths):
        return None
    try:
        return sum(int(pq.read_metadata(path).num_rows) for path in paths)
    except (OSError, pa.ArrowException):
        return None  # The reader will say what is wrong, with the name of the file.


def _kind_of(path: Path) -> tuple[Kind, bool]:
    name = path.name.lower()
    for suffix, kind, zipped in _SUFFIXES:
        if name.endswith(suffix):
            return kind, zipped
    if name.endswith(".parquet.gz"):
        raise InputError(f"{path}: Parquet is compressed inside; decompress the file with gunzip")
    raise InputError(f"{path} has an unknown extension; {_EXPECTED}")


def _check_first_bytes(path: Path, raw: BufferedReader, kind: str) -> None:
    start = raw.read(_SNIFFED_BYTES)
    raw.seek(0)
    content = next((name for magic, name in _MAGIC if start.startswith(magic)), None)
    # UTF-16 without a byte order mark: every second byte of Latin text is zero.
    if content is None and kind in ("csv", "tsv", "jsonl", "json") and start.count(0) * 4 > len(start):
        content = "UTF-16 or binary"
    if content is None or content.lower() == kind:
        return
    cure = {
        "gzip": "name it with .gz",
        "Parquet": "name it .parquet",
    }.get(content, "save it as UTF-8 text")
    raise InputError(f"{path} is {content}, not {kind}; {cure}")


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
