"""What several machines share: folders that are written once and read many times.

A path, or any URL that fsspec has a driver for (s3://, gs://, memory:// ...;
https://filesystem-spec.readthedocs.io/en/latest/api.html#other-known-implementations).
"""

import hashlib
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import fsspec

from keydistill.errors import StorageError
from keydistill.files import file_lock, file_sha256, whole_folder
from keydistill.masking import shown_address
from keydistill.settings import Settings
from keydistill.storage.objects import driver_errors

# Written last: a folder without it is not complete.
_MANIFEST = "manifest-of-files.json"


class SharedStorage:
    """Folders behind one URL or path."""

    def __init__(self, url: str, home: Path) -> None:
        """Storage at a URL, whose driver is found now.

        Args:
            url: Path or fsspec URL.
            home: Folder of this machine, for locks.

        Raises:
            StorageError: There is no driver for such URLs.
        """
        self._name = shown_address(url) if "://" in url else url
        self._locks = home / "locks"
        with self._errors("reached"):
            self._files, self._root = fsspec.core.url_to_fs(url)

    def check(self) -> None:
        """Raise unless the storage can be reached.

        Raises:
            StorageError: It cannot.
        """
        with self._errors("reached"):
            self._files.makedirs(self._root, exist_ok=True)

    def has(self, name: str) -> bool:
        """Whether the complete folder `name` is there.

        Raises:
            StorageError: The storage cannot be reached.
        """
        with self._errors("read"):
            return bool(self._files.exists(self._path(name, _MANIFEST)))

    def put_folder(self, local: Path, name: str) -> None:
        """Make a copy of the folder `local` under `name`, unless there is one: what is there never changes.

        A copy that was begun and not ended is begun again.

        Raises:
            StorageError: It cannot be written.
        """
        if self.has(name):
            return
        files = {
            file.relative_to(local).as_posix(): {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
            for file in sorted(local.rglob("*"))
            if file.is_file() and not file.name.startswith(".")
        }
        with self._errors("written"):
            for relative in files:
                target = self._path(name, relative)
                self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(local / relative), target)
            waiting = self._path(name, f".{_MANIFEST}.{os.getpid()}")
            self._files.pipe_file(waiting, json.dumps(files).encode())
            self._files.mv(waiting, self._path(name, _MANIFEST))

    def drop_folder(self, name: str) -> None:
        """Delete the folder `name`, if it is there.

        Raises:
            StorageError: It cannot be deleted.
        """
        with self._errors("written"):
            # First what says that it is complete.
            for path in (self._path(name, _MANIFEST), f"{self._root.rstrip('/')}/{name}"):
                if self._files.exists(path):
                    self._files.rm(path, recursive=True)

    def fetch_folder(self, name: str, target: Path) -> Path:
        """Copy the folder `name` to `target`, unless that is there; every file is checked.

        Returns:
            `target`, which appears whole or not at all.

        Raises:
            StorageError: It is not there, not whole, or not what was put.
        """
        if target.exists():
            return target
        lock = self._locks / f"fetch-{hashlib.sha256(str(target).encode()).hexdigest()[:16]}.lock"
        with file_lock(lock):
            if target.exists():
                return target
            if not self.has(name):
                raise StorageError(
                    f"{self._name} has no {name}, or not the whole of it; see that the sender ended well"
                )
            with whole_folder(target) as draft:
                self._fetch(name, draft)
        return target

    def _fetch(self, name: str, draft: Path) -> None:
        with self._errors("read"):
            files: dict[str, dict[str, Any]] = json.loads(self._files.cat_file(self._path(name, _MANIFEST)))
            for relative in files:
                file = draft / relative
                file.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(self._path(name, relative), str(file))
        for relative, expected in files.items():
            if file_sha256(draft / relative) != expected["sha256"]:
                raise StorageError(
                    f"{relative} of {name} in {self._name} is not what was put there; delete {name} there, then resume "
                    "the run where it was ordered"
                )

    def _path(self, name: str, file: str) -> str:
        return f"{self._root.rstrip('/')}/{name}/{file}"

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return driver_errors(
            f"the shared storage {self._name} cannot be {what}",
            "check the setting `shared`, its driver and permissions",
        )


def shared_storage(settings: Settings) -> SharedStorage | None:
    """The storage that the setting `shared` names; None where it is not set.

    Raises:
        StorageError: There is no driver for such URLs.
    """
    return None if settings.shared is None else SharedStorage(settings.shared, settings.home)
