"""Read-only views of a ready embedded collection.

An edge shard can be opened once at a time, and opening it rewrites small files in its folder. So each reader opens a
*view*: a folder of its own in which the large, write-once files are hard links and the small ones copies. The folder
costs milliseconds and a few megabytes; a view shares the pages of files with all others in the page cache, and outlives
the deletion of its collection. What the engine reads in when a view is opened takes longer, and memory of its own.
"""

import errno
import json
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qdrant_edge

from keydistill.files import file_lock, lock_handle
from keydistill.settings import Component
from keydistill.vectorstore.edge.cards import CARD_FOLDER
from keydistill.vectorstore.edge.memory import return_freed_memory
from keydistill.vectorstore.edge.sparse_files import copy_contents

# The write-ahead log. A ready collection keeps it for its copies: operations are numbered by it, and an operation with
# a smaller number than the segments have seen is taken for done and ignored.
LOG = "wal"
# Views that stay open although nobody uses them, for the next query. A process that lives long meets a new collection
# with every sync, and whatever is open keeps memory, and the disk of collections that were dropped.
_IDLE_VIEWS = 4
# Written when points are, or when the optimizer makes a segment, and so never through a view; everything else may be
# written when a shard is opened or closed.
_WRITTEN_WITH_POINTS = (
    "matrix.dat",
    "chunk_*.mmap",
    "quantized.data",
    "links_compressed.bin",
    "graph.bin",
    "page_*.dat",
    "values_to_points.bin",
    "point_to_values.bin",
    "data.bin",
)

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


class View:
    """An open view; `shard` answers queries until `close`, which deletes the view's folder."""

    def __init__(self, views: Path, collection: Path, left_in_files: Collection[Component] = ()) -> None:
        """Open a view.

        Args:
            views: Folder for the folders of views.
            collection: The collection's folder.
            left_in_files: Of quantized vectors and payload indexes what is not read in beforehand.
        """
        try:
            self._open_in(views, collection, left_in_files)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            # Who may only read, or has a full disk, is answered all the same, by a copy on another one.
            self._open_in(_temporary_views(), collection, left_in_files)

    def _open_in(self, views: Path, collection: Path, left_in_files: Collection[Component]) -> None:
        self._folder, self._owner = _claim_folder(views, collection.name)
        try:
            _link_or_copy(collection, self._folder / "shard")
            if left_in_files:
                _leave_in_files(self._folder / "shard", left_in_files)
            self.shard = qdrant_edge.EdgeShard.load(str(self._folder / "shard"))
        except BaseException:
            self._give_up_folder()
            raise

    def close(self) -> None:
        """Close the shard and delete the folder."""
        self.shard.close()
        return_freed_memory()
        self._give_up_folder()

    def _give_up_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owner)


@dataclass(slots=True)
class _Slot:
    """A collection's place among the open views: its view, once somebody asked for it, and how many use it now."""

    opening: threading.Lock = field(default_factory=threading.Lock)
    view: View | None = None
    users: int = 0
    let_go: bool = False
    last_used: int = 0


class Views:
    """The open views of one engine, one per collection; threads share them.

    A view that is let go of while threads use it is closed by the last of them: a closed shard answers nobody. Of views
    that nobody uses only the last few stay open.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._uses = 0

    @contextmanager
    def using(self, name: str, open_view: Callable[[], View]) -> Iterator[View]:
        """The view of a collection, which `open_view` opens if it is not; it stays open until the block ends."""
        with self._mutex:
            slot = self._slots.setdefault(name, _Slot())
            slot.users += 1
        try:
            # Not under the mutex: opening a large collection takes a while, and queries of the others go on.
            with slot.opening:
                if slot.view is None:
                    slot.view = open_view()
            yield slot.view
        finally:
            with self._mutex:
                slot.users -= 1
                self._uses += 1
                slot.last_used = self._uses
                over = self._taken_out_if_too_many()
                if slot.let_go and not slot.users:
                    over.append(slot)
            for unused in over:
                _close(unused)

    def release(self, name: str) -> None:
        """Let go of a collection's view; who asks afterwards gets a new one. Without a view it does nothing."""
        with self._mutex:
            slot = self._slots.pop(name, None)
            if slot is None:
                return
            slot.let_go = True
            unused = not slot.users
        if unused:
            _close(slot)

    def _taken_out_if_too_many(self) -> list[_Slot]:
        idle = sorted(((slot.last_used, name) for name, slot in self._slots.items() if not slot.users), reverse=True)
        return [self._slots.pop(name) for _, name in idle[_IDLE_VIEWS:]]

    def close(self) -> None:
        """Let go of all views."""
        for name in list(self._slots):
            self.release(name)


def _close(slot: _Slot) -> None:
    if slot.view is not None:
        slot.view.close()


def _temporary_views() -> Path:
    """A folder for views where temporary files go, which is this user's alone."""
    views = Path(tempfile.gettempdir()) / f"keydistill-views-{os.getuid()}"
    views.mkdir(mode=0o700, exist_ok=True)
    if views.is_symlink() or views.stat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "belongs to another user", str(views))
    return views


def _claim_folder(views: Path, name: str) -> tuple[Path, int]:
    """Make a folder that is ours while we live, and remove those whose owner died."""
    views.mkdir(parents=True, exist_ok=True)
    with file_lock(views / ".lock"):
        for stale in views.iterdir():
            if stale.is_dir():
                _remove_if_abandoned(stale)
        folder = views / f"{name}-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        (folder / "owner").touch()
        return folder, lock_handle(folder / "owner")


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with file_lock(folder / "owner", blocking=False):
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass


def _link_or_copy(source: Path, target: Path) -> None:
    for file in _files(source):
        # Of the log, a view, which nobody writes to, makes one of its own; a card may be replaced meanwhile.
        if file.relative_to(source).parts[0] in (LOG, CARD_FOLDER):
            continue
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if any(file.match(pattern) for pattern in _WRITTEN_WITH_POINTS):
            try:
                copy.hardlink_to(file)
                continue
            except OSError:  # a file system without hard links
                pass
        # What is written by a copy is written to the disk when the view is closed, while all threads wait.
        with file.open("rb", buffering=0) as reader, copy.open("wb", buffering=0) as writer:
            copy_contents(reader, writer)


def _leave_in_files(shard: Path, parts: Collection[Component]) -> None:
    """Have these parts of a view's shard not read in when it is opened."""
    for file in shard.rglob("*.json"):
        # Of one that is damaged the engine says what is wrong.
        with suppress(ValueError):
            file.write_text(json.dumps(_left_in_files(json.loads(file.read_text("utf-8")), parts)), "utf-8")


def _left_in_files(config: Any, parts: Collection[Component], *, is_quantization: bool = False) -> Any:
    """The engine's configuration of a shard, or of a part of it, with other tiers."""
    if isinstance(config, list):
        return [_left_in_files(each, parts) for each in config]
    if not isinstance(config, dict):
        return config
    changed = {
        key: _left_in_files(value, parts, is_quantization=is_quantization or key == "quantization_config")
        for key, value in config.items()
    }
    if is_quantization and "memory" in changed and "quantized" in parts:
        changed["memory"] = "cold"
    # Of indexes of fields.
    if "is_on_disk" in changed and "indexes" in parts:
        changed["is_on_disk"] = True
    return changed


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file
