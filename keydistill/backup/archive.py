"""Where backups are: files by the SHA-256 of their contents, which backups share, and a manifest per backup.

backups/ID.json           the manifest, written last: without it there is no backup
blobs/AB/ABCDEF...        contents, by their SHA-256
collections/KEY.json      parts of a collection that was stored to its end, for later backups to take over
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from keydistill.backup.manifest import Files, Manifest, Part
from keydistill.errors import StorageError
from keydistill.files import file_sha256
from keydistill.storage import ObjectStorage


class Archive:
    """The backups in a folder or behind a URL.

    Attributes:
        shown: The address without secrets.
        written: Number of files that were written through this object, and `written_bytes` of them.
    """

    def __init__(self, url: str) -> None:
        self._objects = ObjectStorage(url)
        self.shown = self._objects.shown
        self.written = self.written_bytes = 0

    def is_within(self, folder: Path) -> bool:
        """Whether it lies in a folder of this machine."""
        return self._objects.is_within(folder)

    def manifests(self) -> list[str]:
        """Ids of the backups, the oldest first."""
        return [name.removeprefix("backups/").removesuffix(".json") for name in self._objects.names("backups")]

    def manifest(self, backup_id: str | None = None) -> Manifest:
        """A backup, by default the latest.

        Raises:
            StorageError: There is none of that id, or a newer keydistill wrote it.
        """
        ids = self.manifests()
        if not ids:
            raise StorageError(f"{self.shown} holds no backup; make one with `keydistill backup {self.shown}`")
        if backup_id is not None and backup_id not in ids:
            raise StorageError(f"{self.shown} holds no backup {backup_id!r}; there are: {', '.join(ids)}")
        name = f"backups/{backup_id or ids[-1]}.json"
        return Manifest.parse(self._objects.read(name), f"{self.shown}/{name}")

    def add(self, manifest: Manifest) -> None:
        """Make a backup one: write its manifest."""
        self._objects.write(f"backups/{manifest.id}.json", manifest.as_json())

    def keep_file(self, local: Path) -> str:
        """Store the contents of a file, unless they are there; returns their digest."""
        digest = file_sha256(local)
        if self._is_missing(digest, local.stat().st_size):
            self._objects.put(local, _blob(digest))
            self._count(local.stat().st_size)
        return digest

    def keep_bytes(self, contents: bytes) -> str:
        """Store contents, unless they are there; returns their digest."""
        digest = hashlib.sha256(contents).hexdigest()
        if self._is_missing(digest, len(contents)):
            self._objects.write(_blob(digest), contents)
            self._count(len(contents))
        return digest

    def keep_folder(self, folder: Path, *, with_hidden: bool = False) -> dict[str, str]:
        """Store the files of a folder; returns their names and digests. Of hidden files and folders only if asked."""
        names = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
        return {
            name.as_posix(): self.keep_file(path)
            for name, path in names.items()
            if with_hidden or not any(part.startswith(".") for part in name.parts)
        }

    def contents(self, digest: str) -> bytes:
        """Stored contents, checked.

        Raises:
            StorageError: They are missing or damaged.
        """
        contents = self._objects.read(_blob(digest))
        if hashlib.sha256(contents).hexdigest() != digest:
            raise self._damaged(digest)
        return contents

    def fetch(self, digest: str, local: Path) -> None:
        """Copy stored contents to a file, checked.

        Raises:
            StorageError: They are missing or damaged.
        """
        self._objects.fetch(_blob(digest), local)
        if file_sha256(local) != digest:
            local.unlink()
            raise self._damaged(digest)

    def fetch_folder(self, files: Files, folder: Path) -> None:
        """Copy stored files into a folder, checked.

        Raises:
            StorageError: One is missing or damaged, or its name leads out of the folder.
        """
        for name, digest in files.items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise StorageError(
                    f"{self.shown} names a file {name!r} outside of its folder; do not trust this backup"
                )
            self.fetch(digest, target)

    def parts_of(self, key: str) -> tuple[Part, ...] | None:
        """Parts of a collection that an earlier backup stored to its end; None where they are not all there."""
        if self._objects.size(_collection(key)) is None:
            return None
        parts = tuple(Part(**part) for part in json.loads(self._objects.read(_collection(key))))
        return None if any(self._objects.size(_blob(part.digest)) is None for part in parts) else parts

    def remember_parts(self, key: str, parts: Iterable[Part]) -> None:
        """Note that a collection is stored to its end."""
        self._objects.write(_collection(key), json.dumps([asdict(part) for part in parts]).encode())

    def damage(self, manifest: Manifest) -> dict[str, str]:
        """What is wrong with the files of a backup, by their digests; every one is read back."""
        problems: dict[str, str] = {}
        for digest in dict.fromkeys(manifest.digests()):
            try:
                self.contents(digest)
            except StorageError as error:
                problems[digest] = str(error)
        return problems

    def retain(self, keep: int) -> list[str]:
        """Delete all but the latest `keep` backups, then the files that none of the others needs; returns their ids.

        Files that a backup which did not end has left go, too.
        """
        ids = self.manifests()
        dropped = ids[:-keep]
        kept = [self.manifest(backup_id) for backup_id in ids[-keep:]]
        for backup_id in dropped:
            self._objects.remove(f"backups/{backup_id}.json")
        needed = {_blob(digest) for manifest in kept for digest in manifest.digests()}
        keys = {_collection(saved.key) for manifest in kept for saved in manifest.collections.values()}
        # Those that say what is there, before what is there.
        for name in self._objects.names("collections"):
            if name not in keys:
                self._objects.remove(name)
        for name in self._objects.names("blobs", with_drafts=True):
            if name not in needed:
                self._objects.remove(name)
        return dropped

    def sizes(self, manifest: Manifest) -> Mapping[str, int]:
        """Bytes of each file of a backup, by its digest."""
        return {digest: self._objects.size(_blob(digest)) or 0 for digest in dict.fromkeys(manifest.digests())}

    def _is_missing(self, digest: str, size: int) -> bool:
        return self._objects.size(_blob(digest)) != size

    def _count(self, size: int) -> None:
        self.written += 1
        self.written_bytes += size

    def _damaged(self, digest: str) -> StorageError:
        return StorageError(
            f"{_blob(digest)} in {self.shown} is not what was put there; delete it and back up again where the "
            "original is, or take an earlier backup"
        )


def _blob(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _collection(key: str) -> str:
    return f"collections/{key}.json"
