"""Copies of files in which holes stay holes.

The engine makes its files long and fills them little by little. Written out in full, a collection of a few hundred
points has 160 MB, which somebody writes to the disk: whoever closes such a file, who then keeps all threads waiting.
"""

import errno
import os
from collections.abc import Iterator
from io import FileIO

_CHUNK_BYTES = 1 << 26
# What file systems and kernels say that have no `copy_file_range` (its manual page).
_NOT_OFFERED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV, errno.EPERM}


def copy_contents(source: FileIO, target: FileIO) -> None:
    """Give an empty file the contents of another one, which nobody writes to.

    Args:
        source: Open for reading.
        target: Open for writing, empty.

    Raises:
        OSError: The disk is full, or fails.
    """
    size = os.fstat(source.fileno()).st_size
    target.truncate(size)
    for start, end in _data_ranges(source.fileno(), size):
        _copy_range(source.fileno(), target.fileno(), start, end)


def _data_ranges(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of a file that are no holes, as (start, end); a file system that knows no holes reports the whole file."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        length = min(end - start, _CHUNK_BYTES)
        try:
            # In the kernel, where a file system that can shares the blocks until one side writes.
            copied = os.copy_file_range(source, target, length, start, start)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            copied = os.pwrite(target, os.pread(source, length, start), start)
        if copied == 0:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        start += copied
