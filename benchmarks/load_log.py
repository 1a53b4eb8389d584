"""What the processes of a load test tell each other: lines in files, which survive the death of who wrote them."""

import json
import time
from pathlib import Path
from typing import Any


class Log:
    """A file of events; processes append, one line each, with the clock that all processes of a machine share."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl"
        self._stop = folder / "stop"
        self._read = 0
        self._events: list[dict[str, Any]] = []

    def note(self, what: str, **fields: Any) -> None:
        """Append an event of now."""
        line = json.dumps({"what": what, "at": time.monotonic(), **fields}) + "\n"
        # One write: the lines of several processes do not mix.
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def events(self, what: str | None = None) -> list[dict[str, Any]]:
        """All so far, or all of one kind, in the order in which they were written."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            self._read += len(whole) + 1 if whole else 0
            self._events += [json.loads(line) for line in whole.splitlines()]
        return [event for event in self._events if what in (None, event["what"])]

    def stop(self) -> None:
        """Have everybody end what they do."""
        self._stop.touch()

    @property
    def is_over(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.exists()
