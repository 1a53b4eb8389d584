"""Locks on files and folders that end with their process, however it ends.

They are the kernel's (`flock`). The library `filelock` takes the same ones, but it looks every 50 ms whether it can
have one, where the kernel wakes us; where there is no `flock` it falls back to a file that outlives a killed process;
and it cannot lock a folder.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, *, blocking: bool = True, patience: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on a file that stays where it is; the kernel lets go of it when the process dies.

    Args:
        path: The file, which is made where there is none.
        blocking: Wait for somebody else who holds it as long as it takes.
        patience: Otherwise wait for so many seconds.

    Raises:
        BlockingIOError: Somebody else holds it and `blocking` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if blocking:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            _lock_within(patience, file.fileno())
        yield


def lock_handle(path: Path) -> int:
    """Lock a file or folder that may be deleted while it is locked; whoever closes the handle lets go.

    Returns:
        The handle, whose lock is on what `path` names now.

    Raises:
        BlockingIOError: Somebody else holds it.
        FileNotFoundError: It is not there, or was deleted between our steps: then this would be a lock on nothing.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise FileNotFoundError(f"{path} was replaced while it was being locked")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _lock_within(seconds: float, handle: int) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return
