"""Outputs that would replace what they are made from."""

import os
from collections.abc import Iterable
from pathlib import Path

from keydistill.errors import InputError

# Rows that could not be used, and pairs without a label, are kept under these names beside an output.
SIDE_FILES = (".rejects.parquet", ".unlabelled.parquet")


def check_no_input_is_replaced(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output, or a file that is kept beside it, that is one of the inputs, however its path is spelled.

    Args:
        out: File or folder to write.
        inputs: Files and folders that are read for it. A folder to write may lie in one of them, but none in it; of a
            file to write only one that is not there yet.

    Raises:
        InputError: It would replace an input.
    """
    # Of a path such as "." only the absolute one has a name.
    place = Path(os.path.abspath(out))
    targets = (out, *(place.with_name(place.name + ending) for ending in SIDE_FILES))
    for source in inputs:
        for target in targets:
            if problem := _clash(target, source):
                raise InputError(f"{out} cannot be written: {problem} and would be replaced; name another output")


def _clash(target: Path, source: Path) -> str | None:
    if _is_same(target, source):
        return f"{target} is the input {source}"
    written, read = _resolved(target), _resolved(source)
    if any(_is_same(written, folder) for folder in read.parents) and written.is_dir():
        return f"the input {source} is in it"
    if written.is_file() and any(_is_same(read, folder) for folder in written.parents):
        return f"{target} is a file of the input {source}"
    return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        # By device and inode: hard links, bind mounts, and other cases of letters where the file system ignores them.
        return os.path.samefile(one, other)
    except OSError:
        return _resolved(one) == _resolved(other)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
