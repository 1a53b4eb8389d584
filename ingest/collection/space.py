"""The check that the disk has room for an embedded collection, before one is begun.

The engine writes through memory maps of sparse files: where the disk is full it is not told of an error, but the whole
process is killed (SIGBUS). So the check comes first.
"""

import shutil
from pathlib import Path

from keydistill.errors import StorageError
from keydistill.vectorstore import CollectionSpec, estimated_bytes

# Files that a collection has however few its points are, as measured (benchmarks/million.py).
_FIXED_BYTES = 32_000_000
# While a collection is optimised, it is on the disk twice, with its log.
_PEAK = 2.2


def check_space(folder: Path, rows: int, spec: CollectionSpec) -> None:
    """Raise unless the disk of `folder` has room for the build.

    Raises:
        StorageError: The disk has not enough room.
    """
    needed = int(estimated_bytes(rows, spec) * _PEAK) + _FIXED_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"building {rows:,} keyphrases needs about {needed / 1e6:,.0f} MB, the disk of {folder} has "
            f"{free / 1e6:,.0f} MB free; make room and resume the run"
        )
