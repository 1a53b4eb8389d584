"""A limit of the rows that a process writes per second, so that a build leaves room for others on its machine."""

import time
from collections.abc import Callable


class Throttle:
    """Spreads the rows of one process evenly over time.

    Vectors are computed at most one window of rows ahead of what is written, so that the limit holds for them, too.
    """

    def __init__(
        self,
        rows_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """A limit of `rows_per_second`; 0 sets none. `clock` and `sleep` are those of `time`, or a test's own."""
        self._rows_per_second = rows_per_second
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()

    def batch(self, most: int) -> int:
        """The rows to write at once, `most` or fewer: no more than a second's, so that every wait is short.

        >>> Throttle(0).batch(1_000), Throttle(200).batch(1_000), Throttle(0.5).batch(1_000)
        (1000, 200, 1)
        """
        return most if self._rows_per_second == 0 else max(1, min(most, int(self._rows_per_second)))

    def wait_for(self, rows: int) -> None:
        """Return once so many rows may be written; what was not used before is not saved up."""
        if self._rows_per_second == 0:
            return
        present = self._clock()
        if self._next_at > present:
            self._sleep(self._next_at - present)
        self._next_at = max(self._next_at, present) + rows / self._rows_per_second
