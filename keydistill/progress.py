"""Progress of long work, reported in one way everywhere. Libraries report; their caller decides what a person sees."""

from typing import Protocol


class Progress(Protocol):
    """A listener to long work, which is called at the beginning of each step and as it advances."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Note that a step begins; `total` is None where nobody knows it."""

    def advance(self, count: int) -> None:
        """Note that `count` more units of the present step are done."""


class NoProgress:
    """A listener that shows nothing."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""

    def advance(self, count: int) -> None:
        """See `Progress.advance`."""


# The default of everything that reports progress.
NO_PROGRESS = NoProgress()


class NamedProgress:
    """Progress of a part of the work, whose name stands before the names of its steps."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._progress.start(f"{self._name} {step}", total, unit)

    def advance(self, count: int) -> None:
        """See `Progress.advance`."""
        self._progress.advance(count)


class WaitingProgress:
    """Progress that can show a wait in the middle of a step, which goes on afterwards where it was."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step: tuple[str, int | None, str] | None = None
        self._done = 0

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._step, self._done = (step, total, unit), 0
        self._progress.start(step, total, unit)

    def advance(self, count: int) -> None:
        """See `Progress.advance`."""
        self._done += count
        self._progress.advance(count)

    def waiting(self, text: str) -> None:
        """Show what is waited for; "" shows the step again."""
        if text:
            self._progress.start(text, None, "")
        elif self._step is not None:
            self._progress.start(*self._step)
            self._progress.advance(self._done)
