"""The folder beside an output in which unfinished work waits to be taken up again."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keydistill.errors import StorageError
from keydistill.files.locks import lock_handle
from keydistill.files.whole import replace_json

_KEY = "key.json"
_LOCK = "lock"


@contextmanager
def work_folder(out: Path, purpose: str, key: Mapping[str, Any]) -> Iterator[Path]:
    """A folder `.OUT.PURPOSE` beside `out` for this process alone.

    Files of an earlier attempt are kept if that one had the same key, and are removed otherwise. The folder is removed
    when the block succeeds or has left nothing in it, and stays when the block fails or the process is killed.

    Args:
        out: Path of the finished work.
        purpose: End of the folder's name.
        key: Everything that decides the result, fit for JSON.

    Raises:
        StorageError: Another process is at work on the same output.
    """
    folder = out.with_name(f".{out.name}.{purpose}")
    with _held(folder, out):
        if _read_key(folder) != json.loads(json.dumps(key)):
            for path in folder.iterdir():
                if path.name != _LOCK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            replace_json(folder / _KEY, key)
        try:
            yield folder
        except BaseException:
            if {path.name for path in folder.iterdir()} == {_KEY, _LOCK}:
                shutil.rmtree(folder)
            raise
        # The key goes first, so that a process killed here does not leave half of the work to be taken for all of it.
        (folder / _KEY).unlink()
        shutil.rmtree(folder)


@contextmanager
def _held(folder: Path, out: Path) -> Iterator[None]:
    handle = None
    while handle is None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / _LOCK).touch()
            handle = lock_handle(folder / _LOCK)
        except FileNotFoundError:
            continue  # who held it before has just removed the folder
        except BlockingIOError:
            raise StorageError(f"another process is at work on {out}; wait for it, or name another output") from None
    try:
        yield
    finally:
        os.close(handle)


def _read_key(folder: Path) -> Any:
    try:
        return json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
