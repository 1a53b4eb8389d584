"""Writes that are on the disk, and what a person is told when they fail."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keydistill.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until a folder and all that is in it are on the disk."""
    for entry in [*folder.rglob("*"), folder]:
        sync(entry)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write into `folder` into one line for a person.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        # Arrow raises OSError without `errno`, and has the system's message in its text.
        if error.errno in _FULL or os.strerror(errno.ENOSPC) in str(error):
            raise StorageError(f"the disk that holds {folder} is full; free space and run again") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(f"{folder} cannot be written ({error.strerror}); check its permissions") from None
        raise
