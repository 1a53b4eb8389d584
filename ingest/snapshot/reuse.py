"""Reuse of an earlier snapshot: of the same files, under the same rules, none is made again."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keydistill.files import file_sha256, whole_folder
from keydistill.ingest.snapshot.snapshot import Snapshot, SnapshotSettings


def of_the_same_files(snapshot: Snapshot, files: Sequence[str], categories: str | None) -> bool:
    """Whether a snapshot was made of files of the same bytes, whatever their names are.

    Args:
        snapshot: The snapshot to compare.
        files: Paths of inventory files.
        categories: Path of the file of the category tree.
    """
    categories_sha256 = None if snapshot.summary.categories is None else snapshot.summary.categories.sha256
    if categories_sha256 != (None if categories is None else file_sha256(Path(categories))):
        return False
    sources = sorted((Path(source.path).suffixes, source.bytes, source.sha256) for source in snapshot.summary.sources)
    paths = [Path(file) for file in files]
    # The sizes are compared first, as that costs nothing.
    if [source[:2] for source in sources] != sorted((path.suffixes, path.stat().st_size) for path in paths):
        return False
    return sources == sorted((path.suffixes, path.stat().st_size, file_sha256(path)) for path in paths)


def would_be_the_same(
    snapshot: Snapshot, files: Sequence[str], categories: str | None, settings: SnapshotSettings
) -> bool:
    """Whether a new snapshot of these files would be the same in every byte, but for its setting of memory."""
    same_names = sorted(source.path for source in snapshot.summary.sources) == sorted(files)
    same_settings = replace(snapshot.settings, memory_mb=settings.memory_mb) == settings
    return same_names and same_settings and of_the_same_files(snapshot, files, categories)


def linked(snapshot: Snapshot, out: Path) -> Snapshot:
    """A copy of a snapshot in another folder, which takes no room of its own where the file system has hard links.

    Raises:
        StorageError: `out` is there already, or it cannot be written.
    """
    with whole_folder(out) as folder:
        for file in snapshot.folder.iterdir():
            try:
                os.link(file, folder / file.name)
            except OSError:
                shutil.copyfile(file, folder / file.name)
    return Snapshot.open(out)
