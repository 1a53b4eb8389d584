"""How long work tells how far it is. Libraries report; whoever calls them decides what a person sees."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told about each step of a run."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """A step begins; `total` is None where nobody knows it."""

    def advance(self, count: int) -> None:
        """So many more units of the present step are done."""


class NoProgress:
    """Tells nobody."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""

    def advance(self, count: int) -> None:
        """See `Progress.advance`."""


def counted_rows(progress: Progress) -> Callable[[int, int | None], None]:
    """Begin the step "snapshot"; what is returned is told how many rows were read so far, and of how many."""
    progress.start("snapshot", None, "rows")
    done = 0

    def advance(rows: int, _: int | None) -> None:
        nonlocal done
        progress.advance(rows - done)
        done = rows

    return advance
