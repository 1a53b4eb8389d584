"""The check that the disk has room for an embedded collection, before one is begun.

The engine writes through memory maps of sparse files: where the disk is full it is not told of an error, but the whole
process is killed (SIGBUS). So the check comes first.
"""

import shutil
from pathlib import Path

from keydistill.errors import StorageError
from keydistill.vectorstore import CollectionSpec

# Per point: payload, its indexes, ids and graph. Fixed: files that a collection has however few its points are. Both
# were measured (benchmarks/million.py).
_BYTES_BESIDE_VECTORS = 610
_FIXED_BYTES = 32_000_000
# While a collection is optimised, it is on the disk twice, with its log.
_PEAK = 2.2


def collection_bytes(rows: int, spec: CollectionSpec) -> int:
    """The estimated size of a ready collection on disk."""
    per_value = 5 if spec.quantization == "int8" else 4
    return rows * (spec.dimension * per_value + _BYTES_BESIDE_VECTORS)


def check_space(folder: Path, rows: int, spec: CollectionSpec) -> None:
    """Raise unless the disk of `folder` has room for the build.

    Raises:
        StorageError: The disk has not enough room.
    """
    needed = int(collection_bytes(rows, spec) * _PEAK) + _FIXED_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"building {rows:,} keyphrases needs about {needed / 1e6:,.0f} MB, the disk of {folder} has "
            f"{free / 1e6:,.0f} MB free; make room and resume the run"
        )
