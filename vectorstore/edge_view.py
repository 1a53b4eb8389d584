"""Read-only views of a ready embedded collection.

An edge shard can be opened once at a time, and opening it rewrites small files in its folder. So each reader opens a
*view*: a folder of its own in which the large, write-once files are hard links and the small ones copies. A view costs
milliseconds and a few megabytes, shares its pages with all other views in the page cache, and outlives the deletion
of its collection.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import qdrant_edge

from files import file_lock

# Written once, when the optimizer makes a segment; everything else may be written when a shard is opened or closed.
_WRITE_ONCE = (
    "matrix.dat",
    "quantized.data",
    "links_compressed.bin",
    "graph.bin",
    "page_*.dat",
    "values_to_points.bin",
    "point_to_values.bin",
    "data.bin",
)


class View:
    """An open view; `shard` answers queries until `close`, which deletes the view's folder."""

    def __init__(self, views: Path, collection: Path) -> None:
        self._folder, self._owner = _claim_folder(views, collection.name)
        _link_or_copy(collection, self._folder / "shard")
        self.shard = qdrant_edge.EdgeShard.load(str(self._folder / "shard"))

    def close(self) -> None:
        """Close the shard and delete the folder."""
        self.shard.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owner)


def _claim_folder(views: Path, name: str) -> tuple[Path, int]:
    """Make a folder that is ours while we live, and remove those whose owner died."""
    views.mkdir(parents=True, exist_ok=True)
    with file_lock(views / ".lock"):
        for stale in views.iterdir():
            if stale.is_dir():
                _remove_if_abandoned(stale)
        folder = views / f"{name}-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        owner = os.open(folder / "owner", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(owner, fcntl.LOCK_EX)
        return folder, owner


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with file_lock(folder / "owner", blocking=False):
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass


def _link_or_copy(source: Path, target: Path) -> None:
    for file in _files(source):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if any(file.match(pattern) for pattern in _WRITE_ONCE):
            try:
                copy.hardlink_to(file)
                continue
            except OSError:  # a file system without hard links
                pass
        shutil.copyfile(file, copy)


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file
