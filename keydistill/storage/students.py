"""Students on the machine that works with them: its own, or checked copies of those that machines share."""

from __future__ import annotations

from pathlib import Path

from keydistill.encoders import StudentFiles, find_model
from keydistill.errors import StudentError, StudentMismatchError
from keydistill.storage.shared import SharedStorage


def share_student(shared: SharedStorage, source: str, version: str) -> None:
    """Put a student into the shared storage, unless it is there.

    Args:
        shared: The storage that machines share.
        source: Folder or model name that the student is loaded from on this machine.
        version: Version of the student.

    Raises:
        StudentError: The student is neither in the storage nor on this machine.
        StorageError: The storage cannot be written.
    """
    if not shared.has(_name(version)):
        shared.put_folder(find_model(source), _name(version))


def local_student(source: str, dimension: int, version: str, home: Path, shared: SharedStorage | None) -> str:
    """The place to load a student from on this machine: `source`, if it is the same student, or a checked copy.

    Args:
        source: Folder or model name that another machine loaded the student from.
        dimension: Length of its vectors.
        version: Version of the student.
        home: Folder of this machine, below which copies are kept.
        shared: The storage that machines share; None where there is none.

    Raises:
        StudentMismatchError: Neither has this version of the student.
        StorageError: The shared storage cannot be read.
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
