"""Students on the machine that works with them: its own, or checked copies of those that machines share."""

from __future__ import annotations

from pathlib import Path

from keydistill.encoders import StudentFiles, find_model
from keydistill.errors import StudentError, StudentMismatchError
from keydistill.storage.shared import SharedStorage


def share_student(shared: SharedStorage, source: str, version: str) -> None:
    """Put a student where other machines find it, unless it is there.

    Args:
        shared: Where that is.
        source: What the student is loaded from here.
        version: Its version.

    Raises:
        StudentError: It is neither there nor here.
        StorageError: It cannot be written there.
    """
    if not shared.has(_name(version)):
        shared.put_folder(find_model(source), _name(version))


def local_student(source: str, dimension: int, version: str, home: Path, shared: SharedStorage | None) -> str:
    """What a student is loaded from here: where another machine had it, if it is the same one, or a checked copy.

    Args:
        source: What it was loaded from elsewhere: a folder or a model name.
        dimension: Length of its vectors.
        version: Its version.
        home: Copies are kept below.
        shared: Where machines put their students; None where there is no such place.

    Raises:
        StudentMismatchError: Neither is there in this version.
        StorageError: What machines share cannot be read.
    """
    try:
        present = StudentFiles.find(source, dimension=dimension).version
    except StudentError as error:
        present = str(error)
    if present == version:
        return source
    if shared is None or not shared.has(_name(version)):
        raise StudentMismatchError(
            f"student {version} is not on this machine, {source} here is: {present}; put that one there, or set "
            "`shared` so that machines get it from each other"
        )
    # The last part of the path is part of the version.
    target = home / "cache" / _name(version) / Path(source).name
    return str(shared.fetch_folder(_name(version), target))


def _name(version: str) -> str:
    return f"students/{version}"
