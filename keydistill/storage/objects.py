"""Single files behind one path or URL: written once, whole or not at all, and listed and deleted by their names."""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import fsspec

from keydistill.errors import StorageError
from keydistill.files import sync
from keydistill.masking import shown_address

# Only the side that is written to fails so.
_OF_THE_LOCAL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _reason_of(error: Exception) -> str:
    """Why a driver failed, in words that hold no secret of its address."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # fsspec says which package to install, or which protocol it does not know; other texts may quote the address.
    if isinstance(error, ImportError) or str(error).startswith("Protocol not known"):
        return str(error)
    return type(error).__name__


@contextmanager
def driver_errors(problem: str, advice: str) -> Iterator[None]:
    """Raise what a driver of fsspec raises as one error of ours.

    Raises:
        StorageError: It raised something; the message is `problem`, its reason, and `advice`.
    """
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise StorageError(f"{problem} ({_reason_of(error)}); {advice}") from None


class ObjectStorage:
    """Files below a folder or any URL that fsspec has a driver for; names are relative, with slashes."""

    def __init__(self, url: str) -> None:
        """Storage at a path or URL, whose driver is found now.

        Raises:
            StorageError: The address is empty, or there is no driver for such URLs.
        """
        if not url:
            raise StorageError("the address is empty; name a folder or a URL")
        self.shown = shown_address(url) if "://" in url else url
        with self._errors("reached"):
            self._files, root = fsspec.core.url_to_fs(url)
            # Listings would otherwise miss what others wrote meanwhile.
            self._files.use_listings_cache = False
        self._root = root.rstrip("/")
        protocols = self._files.protocol
        self._is_local = "file" in ((protocols,) if isinstance(protocols, str) else protocols)

    def is_within(self, folder: Path) -> bool:
        """Whether the files lie in a folder of this machine."""
        return self._is_local and Path(self._root).resolve().is_relative_to(folder.resolve())

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None where it is not there."""
        with self._errors("read"):
            try:
                return int(self._files.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def names(self, folder: str, *, with_drafts: bool = False) -> list[str]:
        """Names of all files below a folder, sorted; none where there is no such folder.

        Args:
            folder: Name of the folder.
            with_drafts: Name those that are not whole, too; while nobody writes, they are of a process that was killed.
        """
        with self._errors("read"):
            try:
                self._files.invalidate_cache()
                paths = self._files.find(self._path(folder))
            except FileNotFoundError:
                return []
        names = (path[len(self._root) + 1 :] for path in paths)
        return sorted(name for name in names if with_drafts or not name.rpartition("/")[2].startswith("."))

    def read(self, name: str) -> bytes:
        """The contents of a file.

        Raises:
            StorageError: It is not there, or cannot be read.
        """
        with self._errors("read"):
            return bytes(self._files.cat_file(self._path(name)))

    def fetch(self, name: str, local: Path) -> None:
        """Copy a file to `local`.

        Raises:
            StorageError: It is not there, or cannot be read, or `local` cannot be written.
        """
        with self._errors("read"):
            try:
                local.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(self._path(name), str(local))
            except OSError as error:
                if error.errno not in _OF_THE_LOCAL_DISK:
                    raise
                raise StorageError(
                    f"{local} cannot be written ({error.strerror}); make room there, then go on"
                ) from None

    def write(self, name: str, contents: bytes) -> None:
        """Write or replace a file."""
        with self._placed(name) as draft:
            self._files.pipe_file(draft, contents)

    def put(self, local: Path, name: str) -> None:
        """Write a file from the file `local`."""
        with self._placed(name) as draft:
            self._files.put_file(str(local), draft)

    def remove(self, name: str) -> None:
        """Delete a file; does nothing where it is not there."""
        with self._errors("written"), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    @contextmanager
    def _placed(self, name: str) -> Iterator[str]:
        """The path to write to; in a folder another one, which is renamed once it is on the disk."""
        target = self._path(name)
        with self._errors("written"):
            if not self._is_local:
                yield target  # an object appears whole
                return
            folder, _, file = target.rpartition("/")
            self._files.makedirs(folder, exist_ok=True)
            draft = f"{folder}/.{file}.{os.getpid()}"
            try:
                yield draft
                sync(Path(draft))
                os.replace(draft, target)
                sync(Path(folder))
            finally:
                Path(draft).unlink(missing_ok=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return driver_errors(
            f"{self.shown} cannot be {what}", "check the address, its driver, permissions and free space"
        )
