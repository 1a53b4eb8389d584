"""Hashes of files."""

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from keydistill.errors import InputError

# A file that was written to within this time may be written to again without another time of change: clocks of file
# systems tick every few milliseconds.
_TICK_NS = 100_000_000

# Path to the identity and the hash of a file.
_remembered: dict[Path, tuple[tuple[int, ...], str]] = {}


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """`file_sha256`, computed once per process while the file's inode, size and times stay."""
    status = path.stat()
    changed_at = max(status.st_mtime_ns, status.st_ctime_ns)
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = _remembered.get(path)
    if known is not None and known[0] == identity:
        return known[1]
    digest = file_sha256(path)
    if changed_at + _TICK_NS < time.time_ns():
        _remembered[path] = identity, digest
    return digest


def first_difference(
    folder: Path,
    digests: Mapping[str, str],
    besides: Collection[str] = (),
    hash_of: Callable[[Path], str] = file_sha256,
) -> tuple[Path, str] | None:
    """The first file of a folder that is not as its hash says, with what is wrong with it; None where there is none.

    Args:
        folder: The folder.
        digests: SHA-256 (hex) of each file, by its name relative to the folder, with slashes.
        besides: Names of files that are there besides and have no hash.
        hash_of: Function that hashes a file.
    """
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - set(besides)
    for name in sorted(present | set(digests)):
        path = folder / name
        if name not in present:
            return path, "is missing"
        if name not in digests:
            return path, "was added"
        if hash_of(path) != digests[name]:
            return path, "was changed"
    return None


def file_digests(files: Sequence[Path]) -> list[str]:
    """SHA-256 (hex) of the bytes of each of a command's input files.

    Raises:
        InputError: One cannot be read.
    """
    try:
        return [file_sha256(file) for file in files]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}; check the name") from None
