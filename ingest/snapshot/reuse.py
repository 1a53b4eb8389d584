"""A snapshot that is there already: of the same files, under the same rules, none is made again."""

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
        snapshot: That snapshot.
        files: Paths of inventory files.
        categories: Path of the file of the category tree.
    """
    known_categories = None if snapshot.summary.categories is None else snapshot.summary.categories.sha256
    if known_categories != (None if categories is None else file_sha256(Path(categories))):
        return False
    known = sorted((Path(source.path).suffixes, source.bytes, source.sha256) for source in snapshot.summary.sources)
    paths = [Path(file) for file in files]
    # The sizes first: they cost nothing.
    if [each[:2] for each in known] != sorted((path.suffixes, path.stat().st_size) for path in paths):
        return False
    return known == sorted((path.suffixes, path.stat().st_size, file_sha256(path)) for path in paths)


def would_be_the_same(
    snapshot: Snapshot, files: Sequence[str], categories: str | None, settings: SnapshotSettings
) -> bool:
    """Whether a new one of these files would be the same in every byte, but for what it says of memory."""
    named = sorted(source.path for source in snapshot.summary.sources) == sorted(files)
    alike = replace(snapshot.settings, memory_mb=settings.memory_mb) == settings
    return named and alike and of_the_same_files(snapshot, files, categories)


def linked(snapshot: Snapshot, out: Path) -> Snapshot:
    """The same snapshot in another folder, which takes no room of its own where the file system has hard links.

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
