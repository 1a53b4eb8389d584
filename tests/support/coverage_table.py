"""Prints coverage by rooms from slipcover's JSON: `python -m tests.support.coverage_table coverage.json`.

A file that is reached through the package's link to a folder at the top level, and directly, is one file. What runs in
processes that tests start (commands, workers) is not seen.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.support.places import ROOT

# Of a room: the lines that ran, and all.
Rooms = dict[str, tuple[int, int]]


def rooms(files: dict[str, dict[str, Any]], root: Path = ROOT) -> Rooms:
    """Lines per room of what slipcover says of files, by their paths relative to `root`."""
    ran: dict[Path, set[int]] = defaultdict(set)
    there: dict[Path, set[int]] = defaultdict(set)
    for name, lines in files.items():
        path = (root / name).resolve()
        ran[path].update(lines["executed_lines"])
        there[path].update(lines["executed_lines"], lines["missing_lines"])
    summed: Rooms = {}
    for path, numbers in there.items():
        parts = path.relative_to(root).parts
        folder = parts[1:] if parts[0] == "keydistill" else parts
        room = folder[0] if len(folder) > 1 else "keydistill"
        before = summed.get(room, (0, 0))
        summed[room] = (before[0] + len(ran[path]), before[1] + len(numbers))
    return dict(sorted(summed.items()))


def table(by_room: Rooms) -> str:
    """A line per room, and one of all."""
    whole = (sum(ran for ran, _ in by_room.values()), sum(lines for _, lines in by_room.values()))
    return "\n".join(
        f"{room:<14} {lines:>7,} lines {ran / max(lines, 1):>6.1%} covered"
        for room, (ran, lines) in [*by_room.items(), ("all", whole)]
    )


if __name__ == "__main__":
    print(table(rooms(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"])))
