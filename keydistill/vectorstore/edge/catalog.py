"""The embedded engine's catalogue: all collections, and the one that each alias names.

It is one JSON file. A writer replaces it atomically while it holds a file lock, a reader reads it without one, so that
a swap of an alias is seen whole or not at all, and a process that dies in the middle changes nothing.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keydistill.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    CollectionStateError,
    VectorStoreError,
)
from keydistill.files import NewerFormatError, file_lock, replace_json, stamped, without_stamp
from keydistill.vectorstore.alias_checks import check_alias_name, check_alias_target
from keydistill.vectorstore.spec import CollectionSpec

# Inode, time of change in ns, size: another file, or one that was written to, has another.
_Signature = tuple[int, int, int]
_NO_FILE: _Signature = (0, 0, 0)
_FORMAT = 1
_CURE = "restore it from a backup, or rebuild it with `keydistill collections adopt`"


class _NoCatalogError(VectorStoreError):
    """The catalogue is damaged, or missing beside folders of collections; `Catalog.rebuild` mends it."""


@dataclass(frozen=True, slots=True)
class CollectionEntry:
    """One collection as the catalogue knows it."""

    state: Literal["building", "ready"]
    spec: CollectionSpec
    metadata: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the catalogue and for cards."""
        return {"state": self.state, "spec": self.spec.as_dict(), "metadata": self.metadata}


@dataclass(slots=True)
class CatalogContents:
    """The whole catalogue; changed only inside `Catalog.change`."""

    collections: dict[str, CollectionEntry] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def resolve(self, name: str) -> tuple[str, CollectionEntry]:
        """The collection that a name or alias stands for.

        Raises:
            CollectionNotFoundError: There is none.
        """
        name = self.aliases.get(name, name)
        return name, self.entry(name)

    def entry(self, name: str) -> CollectionEntry:
        """The collection of this name, which is no alias.

        Raises:
            CollectionNotFoundError: There is none.
        """
        entry = self.collections.get(name)
        if entry is None:
            known = ", ".join(sorted([*self.collections, *self.aliases])) or "none"
            raise CollectionNotFoundError(
                f"no collection or alias {name!r}; there are: {known}; build one with `keydistill reindex`"
            )
        return entry

    def require_free(self, name: str) -> None:
        """Raise unless a new collection may have this name.

        Raises:
            VectorStoreError: No folder can be called so.
            CollectionExistsError: A collection or alias has it.
        """
        if not name or name.startswith(".") or "/" in name:
            raise VectorStoreError(f"collection name {name!r} cannot be a folder name; choose another")
        if name in self.collections or name in self.aliases:
            raise CollectionExistsError(f"collection or alias {name!r} exists already; choose another name")

    def remove(self, name: str) -> None:
        """Forget a collection; see `Engine.drop`."""
        self.entry(name)
        for alias, target in self.aliases.items():
            if target == name:
                raise CollectionStateError(
                    f"collection {name!r} is live behind alias {alias!r}; swap the alias before deleting it"
                )
        del self.collections[name]

    def swap_alias(self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None) -> None:
        """Have an alias name another collection; see `Engine.swap_alias`."""
        if self.entry(target).state != "ready":
            raise CollectionStateError(f"collection {target!r} is still building; finish it before an alias names it")
        check_alias_name(alias, self.collections)
        check_alias_target(alias, self.aliases.get(alias), expected)
        if guard is not None:
            guard()
        self.aliases[alias] = target


class Catalog:
    """The catalogue file `catalog.json` in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._folders = root / "collections"
        self._path = root / "catalog.json"
        self._lock = root / "catalog.lock"
        self._known: tuple[_Signature, CatalogContents] | None = None

    def read(self) -> CatalogContents:
        """The present contents. Callers must not change them.

        Raises:
            VectorStoreError: The file is not a catalogue, is missing beside folders of collections, or was written by
                a newer keydistill.
        """
        # Read only once, because threads share it.
        known = self._known
        signature, contents = self._load(known)
        if known is None or known[1] is not contents:
            self._known = (signature, contents)
        return contents

    def _load(self, known: tuple[_Signature, CatalogContents] | None) -> tuple[_Signature, CatalogContents]:
        """What the file holds, parsed unless it is still the `known` one."""
        try:
            # Opened before it is asked for its identity: the path may name another file a moment later.
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                signature = (status.st_ino, status.st_mtime_ns, status.st_size)
                if known is not None and known[0] == signature:
                    return known
                return signature, _parse(json.load(file))
        except FileNotFoundError:
            folders = folder_names(self._folders)
            if not folders:
                return _NO_FILE, CatalogContents()
        except NewerFormatError as error:
            raise VectorStoreError(f"{self._path} {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _NoCatalogError(f"{self._path} is not a catalogue of collections ({error}); {_CURE}") from None
        if self._path.exists():
            return self._load(known)  # somebody made it, and the first collection, in between
        # Taken for an empty one, all collections would be taken for what killed processes left.
        raise _NoCatalogError(
            f"{self._path} is missing, and {self._folders} holds {len(folders)} collections ({', '.join(folders[:3])}"
            f"{', ...' if len(folders) > 3 else ''}); {_CURE}"
        )

    @contextmanager
    def change(self) -> Iterator[CatalogContents]:
        """Hold the lock, change what is yielded, and have it replace the file when the block ends without an error."""
        with file_lock(self._lock):
            # Parsed anew: other threads go on reading the contents that they share.
            _, contents = self._load(None)
            if not self._path.exists():
                # Before the first folder, which without a catalogue would be one of a catalogue that was lost.
                self._write(contents)
            yield contents
            self._write(contents)

    @contextmanager
    def rebuild(self) -> Iterator[CatalogContents]:
        """As `change`, also where the catalogue is missing or damaged: then what is yielded is empty.

        A damaged file is kept under another name.
        """
        with file_lock(self._lock):
            try:
                _, contents = self._load(None)
            except _NoCatalogError:
                contents = CatalogContents()
                if self._path.exists():
                    self._path.rename(self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}"))
            yield contents
            self._write(contents)

    def unnamed(self) -> list[str]:
        """Names of the folders of collections that the catalogue does not name; of all, where it is missing or damaged.

        Raises:
            VectorStoreError: A newer keydistill wrote the catalogue.
        """
        try:
            named = self.read().collections
        except _NoCatalogError:
            named = {}
        return [name for name in folder_names(self._folders) if name not in named]

    def _write(self, contents: CatalogContents) -> None:
        replace_json(
            self._path,
            stamped(
                _FORMAT,
                {
                    "collections": {name: entry.as_dict() for name, entry in contents.collections.items()},
                    "aliases": contents.aliases,
                },
            ),
        )


def folder_names(folders: Path) -> list[str]:
    """Names of the folders in `collections/` that are, or were to become, collections; sorted."""
    return sorted(folder.name for folder in folders.glob("[!.]*") if folder.is_dir())


def _parse(stored: dict[str, Any]) -> CatalogContents:
    """The catalogue that was written as JSON.

    Raises:
        NewerFormatError: A newer keydistill wrote it.
        ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    values = without_stamp(stored, _FORMAT)
    return CatalogContents(
        collections={name: parse_entry(entry) for name, entry in values["collections"].items()},
        aliases=values["aliases"],
    )


def parse_entry(values: dict[str, Any]) -> CollectionEntry:
    """The inverse of `CollectionEntry.as_dict`.

    Raises:
        KeyError, TypeError: It is no entry.
    """
    return CollectionEntry(values["state"], CollectionSpec.parse(values["spec"]), values["metadata"])
