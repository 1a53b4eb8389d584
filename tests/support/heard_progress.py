"""Progress that a test looks at afterwards, or that does something to the work while it is under way."""

from collections.abc import Callable


class HeardProgress:
    """What work told of itself.

    Attributes:
        steps: Each step that began: name, total, unit.
        counts: The units of each advance.
    """

    def __init__(self, on_advance: Callable[[], object] = lambda: None) -> None:
        self.steps: list[tuple[str, int | None, str]] = []
        self.counts: list[int] = []
        self._on_advance = on_advance

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `keydistill.progress.Progress.start`."""
        self.steps.append((step, total, unit))

    def advance(self, count: int) -> None:
        """See `keydistill.progress.Progress.advance`."""
        self.counts.append(count)
        self._on_advance()

    @property
    def totals(self) -> list[tuple[str, int | None]]:
        """Each step that began, with its total."""
        return [(step, total) for step, total, _ in self.steps]
