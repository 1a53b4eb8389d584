"""Copies of a ready embedded collection's folder: for changes that must never reach it, or under another name.

For changes the files are all copies, unlike a view's (`edge_view`): the engine writes into mapped files, and through a
hard link that would change the source. A folder that is to stay as it is gets hard links. One copy is made at a time,
under a lock and beside the folders that the catalogue names, so that whatever is found there later was left by a
process that died.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keydistill.files import file_lock, sync
from keydistill.vectorstore.edge.cards import CARD_FOLDER
from keydistill.vectorstore.edge.sparse_files import copy_contents

# Beginning of a folder name that no collection can have.
_STAGING = ".copying"


@contextmanager
def copied_folder(source: Path, *, linked: bool = False) -> Iterator[tuple[Path, Callable[[], bool]]]:
    """A copy of a folder that nobody writes to, beside it and on the disk; it vanishes unless the block moves it away.

    Holes in files stay holes: of the 137 MB of a collection of 20,000 points 47 are on the disk.

    Args:
        source: The folder.
        linked: Whether its files may be those of the source, because nobody will write to either.

    Yields:
        The copy, and a function that says whether the source is still there, so that the copy is whole.

    Raises:
        FileNotFoundError: The source is not there, or was deleted meanwhile.
        OSError: The disk is full, or fails.
    """
    staging = source.parent / _STAGING
    with file_lock(_lock_file(source.parent)):
        shutil.rmtree(staging, ignore_errors=True)
        # Held open, so that no other folder gets its number while we ask whether it is still the same.
        handle = os.open(source, os.O_RDONLY)
        try:
            _copy_tree(source, staging, _link_file if linked else _copy_file)
            yield staging, lambda: _is_at(handle, source)
        finally:
            os.close(handle)
            shutil.rmtree(staging, ignore_errors=True)


def remove_abandoned_copy(collections: Path) -> None:
    """Delete what a process that died in `copied_folder` left; a copy that is being made right now stays."""
    if not (collections / _STAGING).exists():
        return
    try:
        with file_lock(_lock_file(collections), blocking=False):
            shutil.rmtree(collections / _STAGING, ignore_errors=True)
    except BlockingIOError:
        pass


def _lock_file(collections: Path) -> Path:
    return collections / f"{_STAGING}.lock"


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _copy_tree(source: Path, target: Path, copy_file: Callable[[str, Path], None]) -> None:
    target.mkdir()
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        if entry.name == CARD_FOLDER:
            continue  # it is the source's, and may be replaced meanwhile
        if entry.is_dir(follow_symlinks=False):
            _copy_tree(Path(entry.path), target / entry.name, copy_file)
        else:
            copy_file(entry.path, target / entry.name)
    sync(target)


def _link_file(source: str, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links, or files of another user
        _copy_file(source, target)


def _copy_file(source: str, target: Path) -> None:
    with open(source, "rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        copy_contents(reader, writer)
        os.fsync(writer.fileno())
