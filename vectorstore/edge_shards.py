"""The shards of embedded collections that one engine has open, for writing or for reading."""

import os
import shutil
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge

from errors import CollectionNotFoundError, CollectionStateError, VectorStoreError
from vectorstore.catalog import Catalog
from vectorstore.edge_view import View, Views

# A shard that is written to keeps all it wrote mapped, and its log grows, until it is closed.
_REOPEN_AFTER = 50_000


class Shards:
    """Opens collections when they are first asked for: one that builds itself, of a ready one a view.

    Threads may share it. After a fork a process opens its own files again.
    """

    def __init__(self, root: Path, catalog: Catalog) -> None:
        self._root = root
        self._catalog = catalog
        self._mutex = threading.RLock()
        self._forget()

    @property
    def folders(self) -> Path:
        """Where the folders of collections are."""
        return self._root / "collections"

    def folder(self, name: str) -> Path:
        """A collection's folder."""
        return self.folders / name

    def remove_nameless(self, names: Container[str]) -> None:
        """Delete what processes left that died while they made or dropped a collection; call it under the lock.

        Args:
            names: The collections that there are.
        """
        for folder in self.folders.glob("[!.]*"):
            if folder.is_dir() and folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

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
            with translated(doing), views.using(name, lambda: self._open_view(name)) as view:
                yield view.shard
        except OSError as error:
            raise VectorStoreError(f"{doing}: {error.strerror}; check free disk space") from error

    def _open_view(self, name: str) -> View:
        try:
            view = View(self._root / "views", self.folder(name))
        except Exception:
            self._catalog.read().entry(name)  # deleted meanwhile? Then that is what is wrong
            raise
        try:
            # The catalogue forgets a collection before its files go: if it knows it still, the view has all of them.
            self._catalog.read().entry(name)
        except CollectionNotFoundError:
            view.close()
            raise
        return view

    def writer(self, name: str) -> qdrant_edge.EdgeShard:
        """The shard of a collection that builds.

        Raises:
            CollectionNotFoundError: There is none of that name or alias.
            CollectionStateError: It is ready, or another process writes to it.
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
                    self._writers[name] = qdrant_edge.EdgeShard.load(str(self.folder(name)))
            return self._writers[name]

    def adopt(self, name: str, shard: qdrant_edge.EdgeShard) -> None:
        """Keep the shard of a collection that was just made, to write to."""
        with self._mutex:
            self._reopen_after_fork()
            self._writers[name] = shard

    def wrote(self, name: str, points: int) -> None:
        """Take note of so many written points; now and then the shard is closed, to be opened again when needed."""
        with self._mutex:
            self._written[name] = self._written.get(name, 0) + points
            if self._written[name] >= _REOPEN_AFTER:
                self.close_writer(name)

    def close_writer(self, name: str) -> None:
        """Close the shard that a collection is written through, if it is open."""
        with self._mutex:
            self._written.pop(name, None)
            if name in self._writers:
                self._writers.pop(name).close()

    def release(self, name: str) -> None:
        """Let go of a ready collection's view, whose folder is deleted with it."""
        with self._mutex:
            self._reopen_after_fork()
            views = self._views
        views.release(name)

    def close(self) -> None:
        """Close all that is open."""
        with self._mutex:
            if os.getpid() == self._pid:
                for writer in self._writers.values():
                    writer.close()
                self._views.close()
            self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._writers: dict[str, qdrant_edge.EdgeShard] = {}
        self._views = Views()
        self._written: dict[str, int] = {}

    def _reopen_after_fork(self) -> None:
        # A shard that was opened before a fork hangs the child at its first query.
        if os.getpid() != self._pid:
            self._forget()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the engine's bare exceptions into ours, with what was being done."""
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
