"""The embedded engine: Qdrant Edge, Qdrant's own engine in a folder, nothing to start.

    root/catalog.json          collections, their metadata, aliases
    root/collections/NAME/     one edge shard
    root/views/...             what readers of this machine have open

While a collection builds, one process writes to it, through a write-ahead log. Once it is ready its folder never
changes again; readers open views of it (`edge_view`).
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import qdrant_edge as edge

from errors import (
    AliasChangedError,
    CollectionExistsError,
    CollectionNotFoundError,
    CollectionStateError,
    VectorStoreError,
)
from files import sync
from vectorstore import edge_translation as translate
from vectorstore.catalog import Catalog, CatalogContents, CollectionEntry
from vectorstore.edge_copy import copied_folder, remove_abandoned_copy
from vectorstore.edge_optimize import optimize_in_child
from vectorstore.edge_view import LOG, View, Views
from vectorstore.engine import (
    CollectionInfo,
    CollectionSpec,
    Hit,
    Payload,
    PointBatch,
    Record,
    SearchParams,
    Vectors,
)
from vectorstore.filters import Filter

_SCROLL_PAGE = 1_000
# A shard that is written to keeps all it wrote mapped, and its log grows, until it is closed.
_REOPEN_AFTER = 50_000


class EmbeddedEngine:
    """`Engine` on a folder. Threads may share one; after a fork a process opens its own files again."""

    changes_in_place: ClassVar[bool] = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._catalog = Catalog(root)
        self._mutex = threading.RLock()
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, name: str, spec: CollectionSpec, metadata: Mapping[str, Any]) -> None:
        """See `Engine.create`."""
        with self._catalog.change() as contents, self._mutex:
            _require_free(name, contents)
            remove_abandoned_copy(self._root / "collections")
            folder = self._folder(name)
            shutil.rmtree(folder, ignore_errors=True)  # left by a process that died before it told the catalogue
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _translated(f"creating {name!r}"):
                shard = edge.EdgeShard.create(str(folder), translate.shard_config(spec))
                for field, kind in spec.payload_indexes.items():
                    shard.update(translate.field_index(field, kind))
            self._writers[name] = shard
            contents.collections[name] = CollectionEntry("building", spec, dict(metadata))

    def copy(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """See `Engine.copy`. The catalogue is not locked while files are copied; copies wait for each other."""
        source, entry = self._entry(source)
        if entry.state != "ready":
            raise CollectionStateError(f"collection {source!r} is still building; finish it before it is copied")
        _require_free(target, self._catalog.read())
        try:
            if not (self._folder(source) / LOG).is_dir():
                raise VectorStoreError(
                    f"collection {source!r} has lost its log, so a copy would ignore changes; reindex"
                )
            with copied_folder(self._folder(source)) as (copy, is_whole), self._catalog.change() as contents:
                _require_free(target, contents)
                if source not in contents.collections or not is_whole():
                    raise _not_found(source, contents)
                folder = self._folder(target)
                shutil.rmtree(folder, ignore_errors=True)  # left by a process that died before it told the catalogue
                copy.rename(folder)
                sync(folder.parent)
                contents.collections[target] = CollectionEntry("building", entry.spec, dict(metadata))
        except OSError as error:
            self._entry(source)  # deleted while it was copied?
            raise VectorStoreError(
                f"copying {source!r} to {target!r}: {error.strerror}; check free disk space, then start again"
            ) from error

    def set_metadata(self, name: str, changes: Mapping[str, Any]) -> None:
        """See `Engine.set_metadata`."""
        with self._catalog.change() as contents:
            entry = contents.collections.get(name)
            if entry is None:
                raise _not_found(name, contents)
            removed = {key for key, value in changes.items() if value is None}
            metadata = {key: value for key, value in {**entry.metadata, **changes}.items() if key not in removed}
            contents.collections[name] = replace(entry, metadata=metadata)

    def upsert(self, name: str, points: PointBatch) -> None:
        """See `Engine.upsert`."""
        if not len(points):
            return
        dimension = self._entry(name)[1].spec.dimension
        if points.vectors.ndim != 2 or points.vectors.shape[1] != dimension:
            raise VectorStoreError(
                f"vectors of shape {points.vectors.shape} do not fit {name!r}; expected (n, {dimension})"
            )
        if not np.isfinite(points.vectors).all():
            raise VectorStoreError(f"vectors for {name!r} hold values that are not finite; nothing was written")
        rows = [
            edge.Point(id, vector, payload)
            for id, vector, payload in zip(
                translate.point_ids(list(points.ids)), points.vectors, points.payloads, strict=True
            )
        ]
        with _translated(f"writing to {name!r}"):
            self._writer(name).update(edge.UpdateOperation.upsert_points(rows))
            self._written[name] = self._written.get(name, 0) + len(points)
            if self._written[name] >= _REOPEN_AFTER:
                self._close_writer(name)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """See `Engine.delete`."""
        with _translated(f"deleting from {name!r}"):
            self._writer(name).update(edge.UpdateOperation.delete_points(translate.point_ids(list(ids))))

    def set_payload(self, name: str, ids: Sequence[str], payload: Payload) -> None:
        """See `Engine.set_payload`."""
        with _translated(f"writing payload to {name!r}"):
            operation = edge.UpdateOperation.set_payload_by_filter(translate.having_ids(list(ids)), payload)
            self._writer(name).update(operation)

    def finish(self, name: str) -> None:
        """See `Engine.finish`; afterwards the collection's folder never changes again."""
        name, entry = self._entry(name)
        if entry.state == "ready":
            return
        self._close_writer(name)
        optimize_in_child(self._folder(name))
        with self._catalog.change() as contents:
            if name not in contents.collections:
                raise _not_found(name, contents)
            # The entry of now: its metadata may have been changed meanwhile.
            contents.collections[name] = replace(contents.collections[name], state="ready")

    def query(
        self,
        name: str,
        vector: Vectors,
        limit: int,
        filter: Filter | None = None,
        params: SearchParams | None = None,
    ) -> list[Hit]:
        """See `Engine.query`."""
        return self.query_batch(name, vector[None, :], limit, [filter], params)[0]

    def query_batch(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filters: Sequence[Filter | None] | None = None,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        """See `Engine.query_batch`."""
        if not np.isfinite(vectors).all():
            raise VectorStoreError(f"query vectors for {name!r} hold values that are not finite; embed them again")
        params = params or SearchParams()
        filters = filters if filters is not None else [None] * len(vectors)
        requests = [
            translate.query_request(vector, limit, filter, params)
            for vector, filter in zip(vectors, filters, strict=True)
        ]
        with self._reading(f"querying {name!r}", name) as shard:
            found = shard.query_batch(edge.QueryBatchRequest(requests))
        return [[translate.hit(point) for point in points] for points in found]

    def count(self, name: str, filter: Filter | None = None) -> int:
        """See `Engine.count`."""
        request = edge.CountRequest(exact=True, filter=translate.edge_filter(filter))
        with self._reading(f"counting {name!r}", name) as shard:
            return shard.count(request)

    def scroll(self, name: str, filter: Filter | None = None, *, with_vectors: bool = False) -> Iterator[Record]:
        """See `Engine.scroll`."""
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=_SCROLL_PAGE,
                filter=translate.edge_filter(filter),
                with_payload=True,
                with_vector=with_vectors,
            )
            with self._reading(f"scrolling {name!r}", name) as shard:
                page, offset = shard.scroll(request)
            yield from map(translate.record, page)
            if offset is None:
                return

    def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Record]:
        """See `Engine.retrieve`."""
        asked = translate.point_ids(list(ids))
        with self._reading(f"reading points of {name!r}", name) as shard:
            points = shard.retrieve(asked, with_payload=True, with_vector=with_vectors)
        found = {str(point.id): point for point in points}
        return [translate.record(found[id]) for id in ids if id in found]

    def info(self, name: str) -> CollectionInfo:
        """See `Engine.info`."""
        name, entry = self._entry(name)
        with self._reading(f"describing {name!r}", name) as shard:
            indexes = translate.field_types(shard.info())
        return CollectionInfo(
            name=name,
            state=entry.state,
            dimension=entry.spec.dimension,
            points=self.count(name),
            payload_indexes=indexes,
            metadata=entry.metadata,
            disk_bytes=_disk_bytes(self._folder(name)),
        )

    def collections(self) -> list[str]:
        """See `Engine.collections`."""
        return sorted(self._catalog.read().collections)

    def release(self, name: str) -> None:
        """See `Engine.release`; the view's folder is deleted with it."""
        with self._mutex:
            self._reopen_after_fork()
        self._views.release(name)

    def drop(self, name: str) -> None:
        """See `Engine.drop`. Views that readers have open go on answering."""
        with self._catalog.change() as contents, self._mutex:
            if name not in contents.collections:
                raise _not_found(name, contents)
            for alias, target in contents.aliases.items():
                if target == name:
                    raise CollectionStateError(
                        f"collection {name!r} is live behind alias {alias!r}; swap the alias before deleting it"
                    )
            del contents.collections[name]
            self._close_writer(name)
            self._views.release(name)
        # Last, so that a process that dies here leaves a folder without a name, not a name without a folder.
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def aliases(self) -> dict[str, str]:
        """See `Engine.aliases`."""
        return dict(self._catalog.read().aliases)

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """See `Engine.swap_alias`; the comparison and the change happen under one lock."""
        with self._catalog.change() as contents:
            entry = contents.collections.get(target)
            if entry is None:
                raise _not_found(target, contents)
            if entry.state != "ready":
                raise CollectionStateError(
                    f"collection {target!r} is still building; finish it before an alias names it"
                )
            if alias in contents.collections:
                raise CollectionExistsError(f"{alias!r} is a collection and cannot be an alias too; rename one")
            present = contents.aliases.get(alias)
            if present != expected:
                raise AliasChangedError(
                    f"alias {alias!r} names {present!r}, expected {expected!r}: somebody else swapped it; "
                    "look at `keydistill collections list`, then start again"
                )
            if guard is not None:
                guard()
            contents.aliases[alias] = target

    def close(self) -> None:
        """See `Engine.close`."""
        with self._mutex:
            if os.getpid() == self._pid:
                for writer in self._writers.values():
                    writer.close()
                self._views.close()
            self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._writers: dict[str, edge.EdgeShard] = {}
        self._views = Views()
        self._written: dict[str, int] = {}

    def _folder(self, name: str) -> Path:
        return self._root / "collections" / name

    def _entry(self, name: str) -> tuple[str, CollectionEntry]:
        """The collection that a name or alias stands for."""
        contents = self._catalog.read()
        name = contents.aliases.get(name, name)
        entry = contents.collections.get(name)
        if entry is None:
            raise _not_found(name, contents)
        return name, entry

    @contextmanager
    def _reading(self, doing: str, name: str) -> Iterator[edge.EdgeShard]:
        """The shard that answers for a name or alias, open until the block ends."""
        name, entry = self._entry(name)
        if entry.state == "building":
            with _translated(doing):
                yield self._writer(name)
            return
        with self._mutex:
            self._reopen_after_fork()
            views = self._views
        try:
            with _translated(doing), views.using(name, lambda: self._open_view(name)) as view:
                yield view.shard
        except OSError as error:
            raise VectorStoreError(f"{doing}: {error.strerror}; check free disk space") from error

    def _open_view(self, name: str) -> View:
        try:
            view = View(self._root / "views", self._folder(name))
        except Exception:
            self._entry(name)  # deleted meanwhile? Then that is what is wrong
            raise
        try:
            # The catalogue forgets a collection before its files go: if it knows it still, the view has all of them.
            self._entry(name)
        except CollectionNotFoundError:
            view.close()
            raise
        return view

    def _writer(self, name: str) -> edge.EdgeShard:
        name, entry = self._entry(name)
        if entry.state == "ready":
            raise CollectionStateError(
                f"collection {name!r} is ready and embedded collections never change then; build a new one"
            )
        with self._mutex:
            self._reopen_after_fork()
            if name not in self._writers:
                with _translated(f"opening {name!r} for writing"):
                    self._writers[name] = edge.EdgeShard.load(str(self._folder(name)))
            return self._writers[name]

    def _close_writer(self, name: str) -> None:
        with self._mutex:
            self._written.pop(name, None)
            if name in self._writers:
                self._writers.pop(name).close()

    def _reopen_after_fork(self) -> None:
        # A shard that was opened before a fork hangs the child at its first query.
        if os.getpid() != self._pid:
            self._forget()


@contextmanager
def _translated(doing: str) -> Iterator[None]:
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


def _require_free(name: str, contents: CatalogContents) -> None:
    if not name or name.startswith(".") or "/" in name:
        raise VectorStoreError(f"collection name {name!r} cannot be a folder name; choose another")
    if name in contents.collections or name in contents.aliases:
        raise CollectionExistsError(f"collection or alias {name!r} exists already; choose another name")


def _not_found(name: str, contents: CatalogContents) -> CollectionNotFoundError:
    known = ", ".join(sorted([*contents.collections, *contents.aliases])) or "none"
    return CollectionNotFoundError(
        f"no collection or alias {name!r}; there are: {known}; build one with `keydistill reindex`"
    )


def _disk_bytes(folder: Path) -> int:
    """Bytes that the folder takes on disk; its files are sparse. Zero if it was deleted meanwhile."""
    try:
        return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    except FileNotFoundError:
        return 0
