"""Hashes of files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from keydistill.errors import InputError


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(files: Sequence[Path]) -> list[str]:
    """SHA-256 (hex) of the bytes of each of a command's input files.

    Raises:
        InputError: One cannot be read.
    """
    try:
        return [file_sha256(file) for file in files]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}; check the name") from None
