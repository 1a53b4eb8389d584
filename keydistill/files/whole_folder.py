"""Writing a folder so that it is there completely or not at all."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keydistill.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


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


@contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `target` when the block ends without an error, and goes otherwise.

    It stands beside `target`, so that the last step is one rename. What a killed process left there is removed by the
    next one that writes the same target.

    Raises:
        StorageError: `target` is there already, another process is writing it, or it cannot be written.
    """
    target = target.absolute()
    partial = target.with_name(f".{target.name}.partial")
    with storage_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(f"{target} is there already and is never overwritten; name another folder")
        with _locked_folder(partial):
            try:
                _empty(partial)
                yield partial
                _sync_files(partial)
                os.rename(partial, target)
                _sync(target.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            # Ends with the process, however it ends.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(handle), os.stat(folder))
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise StorageError(f"another process is writing {folder}; wait for it to end")
        yield
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _sync_files(folder: Path) -> None:
    for entry in folder.iterdir():
        _sync(entry)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
