"""Files and folders that appear whole or not at all, also where the process or the machine dies in the middle."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.errors import InputError, StorageError
from keydistill.files.durability import storage_errors, sync, sync_folder
from keydistill.files.locks import lock_handle
from keydistill.files.modes import as_usual


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name of a file to write, which replaces `path` when the block ends well and vanishes when it does not.

    A reader finds the old contents or the new ones, also after a crash. Where the block writes no file, `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The extension stays: writers choose a format by it.
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        if draft.exists():
            as_usual(draft)
            sync(draft)
            draft.replace(path)
            sync(path.parent)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        # A write that fails does not say where.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        draft.unlink(missing_ok=True)


def replace_json(path: Path, data: Any) -> None:
    """Replace a JSON file, or make it; see `whole_file`."""
    with whole_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)


@dataclass(frozen=True, slots=True)
class FolderKind:
    """The name of a kind of folder with results, and the file in it that says that it is one."""

    name: str
    manifest: str

    def check_target(self, out: Path, force: bool) -> None:
        """Refuse to write over what is not ours.

        Raises:
            InputError: `out` holds something, and either `force` is not set or it is no folder of this kind.
        """
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise InputError(f"{out} is not a folder; name a folder that does not exist yet")
        if not out.is_dir() or not any(out.iterdir()):
            return
        if not force:
            raise InputError(f"{out} is not empty; name another folder, or replace a {self.name} with --force")
        if not (out / self.manifest).is_file():
            raise InputError(
                f"{out} is not empty and holds no {self.manifest}, so it is no {self.name} and --force does not "
                "replace it; remove it yourself or name another folder"
            )


@contextmanager
def whole_folder(out: Path, kind: FolderKind | None = None, *, force: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block succeeds and vanishes when it fails.

    It stands beside `out` as `.NAME.partial`, whose name and missing manifest say that it is not complete, and one
    rename puts it in place. What a killed process left there is removed by the next one that writes the same folder.

    Args:
        out: The folder to make.
        kind: Kind of folder that `force` may replace; None means that `out` is never overwritten.
        force: Replace a folder of that kind.

    Raises:
        InputError: `out` is in the way, as `FolderKind.check_target` says.
        StorageError: `out` is there and has no kind, another process is writing it, or it cannot be written.
    """
    out = out.absolute()
    _check_target(out, kind, force)
    partial = out.with_name(f".{out.name}.partial")
    with storage_errors(out.parent):
        handle = _locked_folder(partial)
        try:
            _empty(partial)
            yield partial
            as_usual(partial)
            sync_folder(partial)
            _check_target(out, kind, force)
            _put_in_place(partial, out)
            sync(out.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            os.close(handle)


def _check_target(out: Path, kind: FolderKind | None, force: bool) -> None:
    if kind is not None:
        kind.check_target(out, force)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"{out} is there already and is never overwritten; name another folder")


def _locked_folder(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock_handle(folder)
    except (BlockingIOError, FileNotFoundError):
        raise StorageError(f"another process is writing {folder}; wait for it to end") from None
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError(f"{folder} cannot be made ({error.strerror}); name another folder") from None


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _put_in_place(partial: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        # Renaming over an empty folder is one step; over one that was filled meanwhile it fails.
        os.rename(partial, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.replaced-", dir=out.parent))
    os.rename(out, old)
    try:
        os.rename(partial, out)
    except BaseException:
        os.rename(old, out)
        raise
    shutil.rmtree(old)
