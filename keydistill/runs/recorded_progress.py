"""Progress that is written into the run's record, so that anybody can follow it from anywhere."""

import time
from contextlib import suppress

from keydistill.errors import RedisUnavailableError, RunError
from keydistill.runs.record import StepProgress
from keydistill.runs.stamps import now
from keydistill.runs.store import RunStore

_SECONDS_BETWEEN_WRITES = 1.0
# The store tries for seconds before it gives up, and the work would wait for it each time.
_SECONDS_AFTER_A_FAILURE = 30.0


class RecordedProgress:
    """See `keydistill.progress.Progress`. A store that is away, or a run that was cancelled, is not its business."""

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._present: StepProgress | None = None
        self._next_write = 0.0

    def start(self, step: str, total: int | None, unit: str) -> None:
        """A step begins."""
        self._present = StepProgress(step, total, unit, 0, now())
        self._write()

    def advance(self, count: int) -> None:
        """So many more units are done."""
        if self._present is None:
            return
        before = self._present
        self._present = StepProgress(before.step, before.total, before.unit, before.done + count, before.began_at)
        if time.monotonic() >= self._next_write:
            self._write()

    def _write(self) -> None:
        present = self._present
        pause = _SECONDS_BETWEEN_WRITES
        try:
            with suppress(OSError):
                self._store.update(
                    self._run_id,
                    lambda run: run if run.is_at_rest else run.changed(progress=present),
                )
        except RedisUnavailableError:
            pause = _SECONDS_AFTER_A_FAILURE
        except RunError:
            pass
        self._next_write = time.monotonic() + pause
