"""Folders that no catalogue names, kept for a while: what one takes for rubbish may be what somebody misses.

root/trash/NAME.SECONDS    a folder of `collections/`, and when it was put there (seconds since 1970)
"""

import shutil
import time
from contextlib import suppress
from pathlib import Path


class Trash:
    """The folder `trash` in `root`; what lies there for longer than `grace_seconds` is deleted when more is put in."""

    def __init__(self, root: Path, grace_seconds: float) -> None:
        self._folder = root / "trash"
        self._grace_seconds = grace_seconds

    def put(self, folder: Path) -> None:
        """Move a folder here."""
        self._folder.mkdir(exist_ok=True)
        put_at = int(time.time())
        while (target := self._folder / f"{folder.name}.{put_at}").exists():
            put_at += 1
        with suppress(FileNotFoundError):
            folder.rename(target)

    def remove_expired(self) -> None:
        """Delete what has lain here for longer than the grace time."""
        for folder in self._folder.glob("*.*"):
            put_at = folder.name.rpartition(".")[2]
            if put_at.isdecimal() and int(put_at) + self._grace_seconds < time.time():
                shutil.rmtree(folder, ignore_errors=True)
