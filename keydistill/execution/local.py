"""Carrying out a run in this process, step by step, until it is over."""

import errno
from collections.abc import Callable
from typing import Generic, TypeVar

from keydistill.errors import KeydistillError, LeaseLostError, RunError, RunStateError
from keydistill.runs import Lease, Run, RunStore

_R = TypeVar("_R", bound=Run)


class LocalWork(Generic[_R]):
    """One run at a time.

    Attributes:
        run: The run at hand, as it was last recorded; what to resume when a call is interrupted.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.run: _R | None = None

    def carry_out(self, run: _R, lease: Lease, step: Callable[[_R], _R]) -> _R:
        """Do `step` until the run is over; what fails is put on record.

        Raises:
            RunStateError: The run was cancelled.
            LeaseLostError: Another process goes on with it.
            KeydistillError: A step failed; the record says why, and what was live before still is.
        """
        while not run.is_over:
            self.run = run
            try:
                run = step(run)
            except (RunStateError, LeaseLostError):
                raise  # cancelled, or another process goes on with it: the record is not ours
            except Exception as error:
                self._record_failure(run.id, error, lease)
                raise _as_ours(error, run) from error
        self.run = run
        return run

    def _record_failure(self, run_id: str, error: Exception, lease: Lease) -> None:
        try:
            self._store.update(run_id, lambda now: now.failed(error), lease)
        except (RunStateError, LeaseLostError) as lost:
            raise lost from error  # what failed here is no longer for us to say
        except (OSError, RunError):
            pass  # a full disk may be what failed; then the record stays as it is, which can be resumed too


def _as_ours(error: Exception, run: Run) -> Exception:
    """The error with what to do next, where it is one that a person can mend."""
    resume = f"then `keydistill {run.kind} --resume {run.id}`"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"run {run.id} failed: no space left on the disk of {error.filename or 'its files'}; make room, {resume}"
        )
    if isinstance(error, KeydistillError):
        return type(error)(f"run {run.id} failed while {run.state}: {error}")
    return error
