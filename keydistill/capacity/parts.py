"""The parts of an embedded collection's folder, and what of them is in memory."""

import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

# The first that a path contains says its part.
_PARTS = (
    ("quantized", "quantized"),
    ("vector_storage", "vectors"),
    ("vector_index", "graph"),
    ("payload_storage", "payload"),
    ("payload_index", "indexes"),
    ("id_tracker", "ids"),
    ("/wal/", "log"),
)
_OPTIMISER = b"optimize_shard"
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)")


def part_of(path: str) -> str:
    """The part that a file of a collection belongs to.

    >>> part_of("a/segments/1/vector_storage/quantized.data"), part_of("a/segments/1/vector_storage/matrix.dat")
    ('quantized', 'vectors')
    """
    return next((part for piece, part in _PARTS if piece in path), "other")


def disk_of(folder: Path) -> Counter[str]:
    """Bytes that each part takes on the disk; files may come and go meanwhile, and have holes."""
    sizes: Counter[str] = Counter()
    # `Path.rglob` would raise at a folder that goes while it looks.
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with suppress(FileNotFoundError):
                sizes[part_of(path)] += os.lstat(path).st_blocks * 512
    return sizes


def resident_of(root: Path) -> Counter[str]:
    """Bytes of this process that are in memory: its "own", and pages of each part of the collections below `root`."""
    sizes: Counter[str] = Counter()
    part = "own"
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        mapping = _MAPPING.match(line)
        if mapping:
            path = mapping[1]
            part = part_of(path) if path.startswith(str(root)) else "libraries" if path.startswith("/") else "own"
        elif line.startswith("Rss:"):
            sizes[part] += int(line.split()[1]) * 1024
    return sizes


def own_memory(pid: int) -> int:
    """Bytes of a process that are in memory and no pages of files; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def optimisers_of(pid: int) -> list[int]:
    """Processes that a process started to optimise a collection, and that run.

    Between fork and exec a child has all of its parent's memory: what it was started for tells it from others.
    """
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in tasks.read_text(encoding="utf-8").split()]
            found += [child for child in children if _OPTIMISER in Path(f"/proc/{child}/cmdline").read_bytes()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
