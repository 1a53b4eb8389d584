"""The audit log of aliases as a file: the only one where one machine does all, the copy of it where Redis keeps it."""

import json
import logging
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from keydistill.errors import RunError
from keydistill.files import NewerFormatError, file_lock, stamped, without_stamp
from keydistill.runs.history import AliasChange

_FORMAT = 1
_log = logging.getLogger(__name__)


@cache
def warn_once(text: str) -> None:
    """A warning that is the same for all who read the record in this process."""
    _log.warning("%s", text)


def line_of(change: AliasChange) -> str:
    """The line of a change, with the number of its format."""
    return json.dumps(stamped(_FORMAT, change.as_dict()))


def changes_of(lines: Iterable[str | bytes], where: str) -> list[AliasChange]:
    """The inverse of `line_of` for all lines; one that nobody can read is left out, with a warning in the log.

    Args:
        lines: The lines, oldest first.
        where: What holds them, for messages.

    Raises:
        RunError: A newer keydistill wrote a line.
    """
    changes = []
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            continue  # one that a crash cut off
        try:
            changes.append(AliasChange.parse(json.dumps(without_stamp(values, _FORMAT))))
        except NewerFormatError as error:
            # Not left out: what it says may be what keeps a collection from being pruned.
            raise RunError(f"{where}, line {number}, {error}") from None
        except (ValueError, AttributeError) as error:
            warn_once(f"{where}, line {number}, is no change of an alias ({error}); it is left out")
    return changes


class HistoryFile:
    """HOME/history.jsonl, a line per change."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / "history.jsonl"

    def note(self, change: AliasChange) -> None:
        """Add a line; when this returns it survives a crash of the machine."""
        with file_lock(self._home / "locks" / "history.lock"), self._path.open("ab+") as file:
            # A line that a crash cut off must not take the next one with it.
            if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")
            file.write(line_of(change).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def changes(self) -> list[AliasChange]:
        """All lines, oldest first; see `changes_of`."""
        try:
            return changes_of(self._path.read_bytes().splitlines(), str(self._path))
        except FileNotFoundError:
            return []
