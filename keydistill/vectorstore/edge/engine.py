"""The embedded engine: Qdrant Edge, Qdrant's own engine in a folder, nothing to start.

    root/catalog.json          collections, their metadata, aliases
    root/collections/NAME/     one edge shard, and in `keydistill/` the collection's entry once more (`cards`)
    root/trash/...             folders that the catalogue did not name (`trash`)
    root/views/...             what readers of this machine have open

While a collection builds, one process writes to it, through a write-ahead log. Once it is ready its folder never
changes again; readers open views of it (`edge_view`), and changes go into a copy (`edge_copy`). Only folders that never
change share files (`duplicate`).
"""

import errno
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import qdrant_edge as edge

from keydistill.errors import (
    CollectionLostError,
    CollectionNotFoundError,
    CollectionStateError,
    VectorStoreError,
)
from keydistill.files import NewerFormatError, sync
from keydistill.vectorstore.edge import translation as translate
from keydistill.vectorstore.edge.cards import Card, read_card, write_card
from keydistill.vectorstore.edge.catalog import Catalog, CatalogContents, CollectionEntry
from keydistill.vectorstore.edge.copy import copied_folder, remove_abandoned_copy
from keydistill.vectorstore.edge.optimize import optimize_in_child
from keydistill.vectorstore.edge.shards import Shards, translated
from keydistill.vectorstore.edge.trash import Trash
from keydistill.vectorstore.edge.view import LOG
from keydistill.vectorstore.edge.writer import EmbeddedWriter
from keydistill.vectorstore.engine import CollectionInfo, Lost
from keydistill.vectorstore.spec import CollectionSpec


class EmbeddedEngine(EmbeddedWriter):
    """`Engine` on a folder. Threads may share one; after a fork a process opens its own files again."""

    changes_in_place: ClassVar[bool] = False

    def __init__(self, root: Path, *, grace_seconds: float = 3600.0, left_in_files: bool = False) -> None:
        """Say where collections are.

        Args:
            root: The folder; it is made with the first collection.
            grace_seconds: How long folders that the catalogue does not name are kept in the trash.
            left_in_files: Whether quantized vectors and payload indexes of ready collections, where their placement
                names no tier for them, are read when they are asked for, and not when a collection is opened. That
                takes six microseconds a point, in which the engine holds the interpreter's lock.
        """
        self._root = root
        catalog = Catalog(root)
        super().__init__(catalog, Shards(root, catalog, Trash(root, grace_seconds), left_in_files=left_in_files))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._root)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def patient(self, seconds: float, waiting: Callable[[str], None]) -> Self:
        """See `Engine.patient`; here is nothing that could be away."""
        return self

    def went_live(self, name: str) -> int | None:
        """See `Engine.went_live`."""
        return None

    def cannot_do(self, spec: CollectionSpec) -> dict[str, str]:
        """See `Engine.cannot_do`; here a collection is one shard on one machine."""
        return {
            name: f"the embedded engine keeps a collection in one shard on one machine and has no {name}; it needs a "
            "Qdrant server (KEYDISTILL_ENGINE=server)"
            for name in spec.of_a_server
        }

    def check_room(self, name: str, points: int, payload_bytes: int) -> None:
        """See `Engine.check_room`; here the disk alone is the limit."""

    def create(self, name: str, spec: CollectionSpec, metadata: Mapping[str, Any]) -> None:
        """See `Engine.create`."""
        with self._catalog.change() as contents:
            contents.require_free(name)
            remove_abandoned_copy(self._shards.folders)
            self._shards.remove_nameless(contents.collections)
            folder = self._shards.folder(name)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with translated(f"creating {name!r}"):
                shard = edge.EdgeShard.create(str(folder), translate.shard_config(spec))
                for field, kind in spec.payload_indexes.items():
                    shard.update(translate.field_index(field, kind, spec))
            self._shards.adopt(name, shard)
            self._enter(contents, name, CollectionEntry("building", spec, dict(metadata)))

    def copy(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """See `Engine.copy`. The catalogue is not locked while files are copied; copies wait for each other."""
        self._take_over(source, target, metadata, "building")

    def duplicate(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """See `Engine.duplicate`; the files are hard links where the file system has them."""
        self._take_over(source, target, metadata, "ready")

    def _take_over(
        self, source: str, target: str, metadata: Mapping[str, Any], state: Literal["building", "ready"]
    ) -> None:
        source, entry = self._catalog.read().resolve(source)
        if entry.state != "ready":
            raise CollectionStateError(f"collection {source!r} is still building; finish it before it is copied")
        self._catalog.read().require_free(target)
        try:
            folder_copy = copied_folder(self._shards.folder(source), linked=state == "ready")
            with folder_copy as (copy, is_whole), self._catalog.change() as contents:
                contents.require_free(target)
                contents.entry(source)
                if not is_whole():
                    raise CollectionNotFoundError(
                        f"collection {source!r} was deleted while it was copied, and another made; start again"
                    )
                if not (copy / LOG).is_dir():
                    raise VectorStoreError(
                        f"collection {source!r} has no folder {LOG!r}, so its copy would ignore changes; "
                        "build it anew with `keydistill reindex`"
                    )
                self._shards.remove_nameless(contents.collections)
                folder = self._shards.folder(target)
                copy.rename(folder)
                sync(folder.parent)
                # Open here still, if another process deleted a collection of that name.
                self._shards.close_writer(target)
                self._shards.release(target)
                if state == "building":
                    self._shards.writes_here(target)
                self._enter(contents, target, CollectionEntry(state, entry.spec, dict(metadata)))
        except OSError as error:
            self._catalog.read().resolve(source)  # deleted while it was copied?
            raise VectorStoreError(
                f"copying {source!r} to {target!r}: {error.strerror}; check free disk space, then start again"
            ) from error

    def set_metadata(self, name: str, changes: Mapping[str, Any]) -> None:
        """See `Engine.set_metadata`."""
        with self._catalog.change() as contents:
            entry = contents.entry(name)
            removed = {key for key, value in changes.items() if value is None}
            metadata = {key: value for key, value in {**entry.metadata, **changes}.items() if key not in removed}
            self._enter(contents, name, replace(entry, metadata=metadata))

    def finish(self, name: str) -> None:
        """See `Engine.finish`; afterwards the collection's folder never changes again."""
        name, entry = self._catalog.read().resolve(name)
        if entry.state == "ready":
            return
        self._shards.close_writer(name)
        optimize_in_child(self._shards.folder(name))
        with self._catalog.change() as contents:
            # The entry of now: its metadata may have been changed meanwhile.
            self._enter(contents, name, replace(contents.entry(name), state="ready"))

    def info(self, name: str) -> CollectionInfo:
        """See `Engine.info`."""
        name, entry = self._catalog.read().resolve(name)
        points: int | None = None
        indexes = dict(entry.spec.payload_indexes)
        # To look at a collection that builds elsewhere would be to open it for writing, before its builder can.
        if entry.state == "ready" or self._shards.is_written_here(name):
            with self._shards.reading(f"describing {name!r}", name) as shard:
                indexes = translate.field_types(shard.info())
            points = self.count(name)
        else:
            self._shards.require_folder(name)
        return CollectionInfo(
            name=name,
            state=entry.state,
            dimension=entry.spec.dimension,
            points=points,
            payload_indexes=indexes,
            metadata=entry.metadata,
            disk_bytes=_disk_bytes(self._shards.folder(name)),
            spec=entry.spec,
        )

    def collections(self) -> list[str]:
        """See `Engine.collections`."""
        return sorted(self._catalog.read().collections)

    def release(self, name: str) -> None:
        """See `Engine.release`; the view's folder is deleted with it."""
        self._shards.release(name)

    def drop(self, name: str) -> None:
        """See `Engine.drop`. Views that readers have open go on answering."""
        try:
            self._forget(name)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # On a full disk the catalogue can be written only once the folder has gone. Who dies in between leaves a
            # name without a folder (`lost`), which can be dropped too.
            self._forget(name, delete=True)
        # Last, so that a process that dies here leaves a folder without a name, not a name without a folder. The next
        # collection that is made clears it away.
        shutil.rmtree(self._shards.folder(name), ignore_errors=True)

    def _forget(self, name: str, *, delete: bool = False) -> None:
        with self._catalog.change() as contents:
            contents.remove(name)
            self._shards.close_writer(name)
            self._shards.release(name)
            if delete:
                shutil.rmtree(self._shards.folder(name), ignore_errors=True)

    def aliases(self) -> dict[str, str]:
        """See `Engine.aliases`."""
        return dict(self._catalog.read().aliases)

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """See `Engine.swap_alias`; the comparison and the change happen under one lock."""
        with self._catalog.change() as contents:
            contents.swap_alias(alias, target, expected, guard)
            self._shards.require_folder(target)
            folder = self._shards.folder(target)
            card = read_card(folder)
            named_at = {} if card is None else card.named_at
            stamp = datetime.now(UTC).isoformat(timespec="microseconds")
            write_card(folder, Card(contents.entry(target), {**named_at, alias: stamp}))

    def lost(self) -> dict[str, Lost]:
        """See `Engine.lost`; of each ready collection a view is opened."""
        lost: dict[str, Lost] = {}
        for name, entry in self._catalog.read().collections.items():
            try:
                self._shards.require_folder(name)
                if entry.state == "ready":
                    with self._shards.reading(f"opening {name!r}", name):
                        pass
            except CollectionLostError as error:
                lost[name] = Lost(str(error), is_gone=not self._shards.folder(name).is_dir())
            except CollectionNotFoundError:
                pass  # dropped meanwhile
        return lost

    def unnamed(self) -> dict[str, Card | None]:
        """Folders in `collections/` that the catalogue does not name, with their cards; all, where it is lost.

        Raises:
            VectorStoreError: A newer keydistill wrote a card or the catalogue.
        """
        names = self._catalog.unnamed()
        try:
            return {name: read_card(self._shards.folder(name)) for name in names}
        except NewerFormatError as error:
            raise VectorStoreError(str(error)) from None

    def adopt(self, entries: Mapping[str, CollectionEntry], aliases: Mapping[str, str]) -> None:
        """Have the catalogue name collections whose folders are here, and these aliases where it has none such.

        Where the catalogue is missing or damaged, it is made anew.
        """
        with self._catalog.rebuild() as contents:
            for name, entry in entries.items():
                self._enter(contents, name, entry)
            for alias, target in aliases.items():
                if alias not in contents.aliases:
                    contents.swap_alias(alias, target, None, None)

    def _enter(self, contents: CatalogContents, name: str, entry: CollectionEntry) -> None:
        """Put an entry into the catalogue, and before that on the collection's card."""
        folder = self._shards.folder(name)
        if folder.is_dir():
            card = read_card(folder)
            write_card(folder, Card(entry) if card is None else replace(card, entry=entry))
        contents.collections[name] = entry

    def close(self) -> None:
        """See `Engine.close`."""
        self._shards.close()


def _disk_bytes(folder: Path) -> int:
    """Bytes that the folder takes on disk; its files are sparse. Zero if it was deleted meanwhile."""
    try:
        return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    except FileNotFoundError:
        return 0
