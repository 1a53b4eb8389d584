"""Files that several processes share: locks, and changes that are seen whole or not at all."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.errors import InputError


@contextmanager
def file_lock(path: Path, *, blocking: bool = True, patience: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel lets go of it when the process dies.

    Args:
        path: Of the file, which is made where there is none.
        blocking: Wait for somebody else who holds it as long as it takes.
        patience: Otherwise wait for so many seconds.

    Raises:
        BlockingIOError: Somebody else holds it and `blocking` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        if blocking:
            fcntl.flock(handle, fcntl.LOCK_EX)
        else:
            _lock_within(patience, handle.fileno())
        yield


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


def replace_json(path: Path, data: Any) -> None:
    """Replace a JSON file atomically and durably: a reader finds the old text or the new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class FolderKind:
    """What a folder of results is called, and the file in it that says that it is one."""

    name: str
    manifest: str

    def check_target(self, out: Path, force: bool) -> None:
        """Refuse to write over what is not ours.

        Raises:
            InputError: `out` holds something, and either `force` is not set or it is no folder of this kind.
        """
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise InputError(f"{out} is not a folder; name a folder that does not exist yet")
        if not out.is_dir() or not any(out.iterdir()):
            return
        if not force:
            raise InputError(f"{out} is not empty; name another folder, or replace a {self.name} with --force")
        if not (out / self.manifest).is_file():
            raise InputError(
                f"{out} is not empty and holds no {self.manifest}, so it is no {self.name} and --force does not "
                "replace it; remove it yourself or name another folder"
            )


@contextmanager
def complete_folder(out: Path, kind: FolderKind, *, force: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block ends well and vanishes when it does not.

    Everything is written into a folder beside it, `.NAME.partial-XXXX`, whose name and missing manifest say that it is
    not complete. One rename puts it in place. A process that is killed leaves at most such a folder behind.

    Raises:
        InputError: See `FolderKind.check_target`; or the folder cannot be made or put in place.
    """
    kind.check_target(out, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        # mkdtemp lets only the owner in; the folder is to be as open as any other.
        partial.chmod(0o777 & ~_umask())
    except OSError as error:
        raise InputError(f"cannot write beside {out}: {error.strerror}; name a folder you may write") from error
    try:
        yield partial
        sync_folder(partial)
        kind.check_target(out, force)
        _put_in_place(partial, out)
        sync(out.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _put_in_place(partial: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        # Renaming over an empty folder is one step; over one that was filled meanwhile it fails.
        os.rename(partial, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.replaced-", dir=out.parent))
    os.rename(out, old)
    try:
        os.rename(partial, out)
    except BaseException:
        os.rename(old, out)
        raise
    shutil.rmtree(old)


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
