"""The shards of embedded collections that one engine has open, for writing or for reading."""

import os
import re
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import qdrant_edge

from keydistill.errors import (
    CollectionLostError,
    CollectionNotFoundError,
    CollectionStateError,
    VectorStoreError,
)
from keydistill.settings import Component
from keydistill.vectorstore.edge.catalog import Catalog, folder_names
from keydistill.vectorstore.edge.memory import return_freed_memory
from keydistill.vectorstore.edge.trash import Trash
from keydistill.vectorstore.edge.view import View, Views
from keydistill.vectorstore.spec import CollectionSpec

# Points after which a shard is flushed: until then its log grows.
_FLUSH_AFTER = 50_000
# A shard that is written to keeps all it wrote mapped until it is closed. Opening it again reads something of every
# point; where a part of them must be new, that adds up to a few microseconds a point however many there come to be.
_REOPEN_AFTER_SHARE = 0.5
# What the engine reads in when it opens a shard, unless its placement says otherwise.
_READ_IN: tuple[Component, ...] = ("quantized", "indexes")
# As Rust writes an error of the system; number 2 is a file that is not there.
_REFUSED_BY_SYSTEM = re.compile(r"os error (?!2\b)\d+")
_CURE = (
    "put it back from a backup, go back with `keydistill collections rollback`, or build anew with `keydistill reindex`"
)


@dataclass(slots=True)
class _Writer:
    """A shard that is open for writing.

    Attributes:
        shard: The shard.
        points_at_opening: Number of points that it had when it was opened.
        written: Number of points that were written since.
        unflushed: Number of points that were written since the last flush.
    """

    shard: qdrant_edge.EdgeShard
    points_at_opening: int = 0
    written: int = 0
    unflushed: int = 0


class Shards:
    """Opens collections when they are first needed: a building one directly, a ready one through a view.

    Threads may share it. After a fork a process opens its own files again.
    """

    def __init__(self, root: Path, catalog: Catalog, trash: Trash, *, left_in_files: bool = False) -> None:
        self._root = root
        self._left_in_files = left_in_files
        self._catalog = catalog
        self._trash = trash
        self._mutex = threading.RLock()
        self._forget()

    @property
    def folders(self) -> Path:
        """The folder of the folders of collections."""
        return self._root / "collections"

    def folder(self, name: str) -> Path:
        """A collection's folder."""
        return self.folders / name

    def remove_nameless(self, names: Container[str]) -> None:
        """Put away what processes left that died while they made or dropped a collection; call it under the lock.

        Args:
            names: Names of all collections.
        """
        self._trash.remove_expired()
        for name in folder_names(self.folders):
            if name not in names:
                self._trash.put(self.folder(name))

    def require_folder(self, name: str) -> None:
        """Raise unless the folder of a collection is there.

        Raises:
            CollectionLostError: It is not.
        """
        folder = self.folder(name)
        if not folder.is_dir():
            raise CollectionLostError(f"collection {name!r} is lost: its folder {folder} is missing; {_CURE}")

    def is_written_here(self, name: str) -> bool:
        """Whether this engine made or wrote to a collection."""
        with self._mutex:
            self._reopen_after_fork()
            return name in self._written_here

    def writes_here(self, name: str) -> None:
        """Take note that this engine made a collection, and will write to it."""
        with self._mutex:
            self._reopen_after_fork()
            self._written_here.add(name)

    @contextmanager
    def reading(self, doing: str, name: str) -> Iterator[qdrant_edge.EdgeShard]:
        """The shard that answers for a name or alias, open until the block ends; errors tell what was being done."""
        name, entry = self._catalog.read().resolve(name)
        if entry.state == "building":
            with translated(doing):
                yield self.writer(name)
            return
        with self._mutex:
            self._reopen_after_fork()
            views = self._views
        try:
            with translated(doing), views.using(name, lambda: self._open_view(name, entry.spec)) as view:
                yield view.shard
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise VectorStoreError(
                f"{doing}: {error.strerror}{where}; check free disk space and permissions, also of the folder for "
                "temporary files (TMPDIR)"
            ) from error

    def _open_view(self, name: str, spec: CollectionSpec) -> View:
        folder = self.folder(name)
        # Without segments the engine would begin an empty collection, and find nothing in it.
        if folder.is_dir() and not any((folder / "segments").glob("*")):
            self._catalog.read().entry(name)
            self.require_folder(name)
            raise CollectionLostError(f"collection {name!r} is lost: its folder {folder} has no segments; {_CURE}")
        left_in_files = [part for part in _READ_IN if part not in spec.placement] if self._left_in_files else []
        try:
            view = View(self._root / "views", folder, left_in_files)
        except Exception as error:
            self._catalog.read().entry(name)  # deleted meanwhile? Then that is what is wrong
            self.require_folder(name)
            reason = " ".join(str(error).split())
            # What the system refuses, for want of space, memory or handles, is no damage; a file that is missing is.
            if type(error) is Exception and not _REFUSED_BY_SYSTEM.search(reason):
                raise CollectionLostError(
                    f"collection {name!r} is lost: its folder {folder} is damaged ({reason}); {_CURE}"
                ) from error
            raise
        try:
            # The catalogue forgets a collection before its files go: if it knows it still, the view has all of them.
            self._catalog.read().entry(name)
        except CollectionNotFoundError:
            view.close()
            raise
        return view

    def writer(self, name: str) -> qdrant_edge.EdgeShard:
        """The shard of a building collection.

        Raises:
            CollectionNotFoundError: There is no collection of that name or alias.
            CollectionStateError: The collection is ready, or another process writes to it.
        """
        name, entry = self._catalog.read().resolve(name)
        if entry.state == "ready":
            raise CollectionStateError(
                f"collection {name!r} is ready and embedded collections never change then; build a new one"
            )
        with self._mutex:
            self._reopen_after_fork()
            if name not in self._writers:
                with translated(f"opening {name!r} for writing"):
                    shard = qdrant_edge.EdgeShard.load(str(self.folder(name)))
                    self._writers[name] = _Writer(shard, shard.info().points_count)
                    self._written_here.add(name)
            return self._writers[name].shard

    def adopt(self, name: str, shard: qdrant_edge.EdgeShard) -> None:
        """Keep the shard of a collection that was just made, to write to."""
        with self._mutex:
            self._reopen_after_fork()
            self._writers[name] = _Writer(shard)
            self._written_here.add(name)

    def wrote(self, name: str, points: int) -> None:
        """Note that a number of points were written through `writer`.

        Now and then the shard is flushed, or closed, to be opened again when needed.
        """
        with self._mutex:
            writer = self._writers.get(name)
            if writer is None:
                return  # another thread closed it meanwhile
            writer.written += points
            writer.unflushed += points
            if writer.unflushed >= _FLUSH_AFTER:
                if writer.written >= writer.points_at_opening * _REOPEN_AFTER_SHARE:
                    self.close_writer(name)
                else:
                    writer.shard.flush()
                    writer.unflushed = 0

    def close_writer(self, name: str) -> None:
        """Close the shard that a collection is written through, if it is open."""
        with self._mutex:
            if name in self._writers:
                self._writers.pop(name).shard.close()
                return_freed_memory()

    def release(self, name: str) -> None:
        """Let go of a ready collection's view, whose folder is deleted with it."""
        with self._mutex:
            self._reopen_after_fork()
            views = self._views
        views.release(name)

    def close(self) -> None:
        """Close all open shards and views."""
        with self._mutex:
            if os.getpid() == self._pid:
                for writer in self._writers.values():
                    writer.shard.close()
                self._views.close()
            self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._writers: dict[str, _Writer] = {}
        self._written_here: set[str] = set()
        self._views = Views()

    def _reopen_after_fork(self) -> None:
        # A shard that was opened before a fork hangs the child at its first query.
        if os.getpid() != self._pid:
            self._forget()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the engine's bare exceptions into errors of keydistill that say what was being done."""
    try:
        yield
    except Exception as error:
        # qdrant_edge raises plain Exception for everything; a subclass is ours or a defect.
        if type(error) is not Exception:
            raise
        reason = " ".join(str(error).split())
        if "WouldBlock" in reason:
            raise CollectionStateError(
                f"{doing}: another process has it open for writing; wait for it or stop it"
            ) from None
        raise VectorStoreError(f"{doing}: {reason}") from error
