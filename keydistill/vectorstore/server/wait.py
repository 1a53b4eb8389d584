"""Waiting for a Qdrant server to optimise a collection, for as long as something moves."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from keydistill.errors import EngineUnavailableError, VectorStoreError

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
# Optimisers start a moment after the settings change; a single green light may be from before that.
_GREEN_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the optimisation.

    Attributes:
        status: "green" (done), "yellow" (at work), "grey" (has work, but was not told to start) or "red" (failed).
        pending: Number of optimisations that run or wait.
        error: Complaint of the optimisers.
        marks: Values that change as the work goes on.
    """

    status: str
    pending: int = 0
    error: str | None = None
    marks: Hashable = None


def wait_until_optimized(
    name: str, look: Callable[[], Progress], nudge: Callable[[], None], *, stall_seconds: float
) -> None:
    """Return when the collection is green and nothing is pending.

    Args:
        name: Name of the collection, for messages.
        look: Function that asks the server for its progress.
        nudge: Function that starts optimisers which wait to be told, as they do after a restart of the server
            (https://qdrant.tech/documentation/manage-data/collections/#grey-collection-status).
        stall_seconds: Longest time without any change. Large collections take hours, so the whole has no limit.

    Raises:
        EngineUnavailableError: Nothing changed for `stall_seconds`.
        VectorStoreError: The optimisation failed.
    """
    pause, greens, nudged_at = _FIRST_PAUSE_SECONDS, 0, None
    progress, moved_at = look(), time.monotonic()
    while True:
        if progress.error is not None or progress.status == "red":
            raise VectorStoreError(
                f"optimising {name!r} failed: {progress.error or 'status red'}; look at the server's log and disk, "
                "then resume the run"
            )
        greens = greens + 1 if progress.status == "green" and not progress.pending else 0
        if greens == _GREEN_LOOKS:
            return
        now = time.monotonic()
        if now - moved_at > stall_seconds:
            raise EngineUnavailableError(
                f"optimising {name!r} stands still: status {progress.status}, {progress.pending} pending, no change "
                f"for {stall_seconds:.0f} s; look at the server's log and load, then resume the run"
            )
        if progress.status == "grey" and (nudged_at is None or now - nudged_at > 10 * _LONGEST_PAUSE_SECONDS):
            nudge()
            nudged_at = now
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        latest = look()
        if latest != progress:
            moved_at = time.monotonic()
        progress = latest
