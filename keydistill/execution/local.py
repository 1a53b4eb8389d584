"""Carrying out a run in this process until it is over, for all kinds of run."""

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from keydistill.errors import LeaseLostError, RunError, RunStateError
from keydistill.execution.failures import record_failure, with_next_step
from keydistill.execution.pausing import check_may_begin, wait_while_paused
from keydistill.execution.telemetry import at_work_on
from keydistill.progress import NO_PROGRESS, Progress, WaitingProgress
from keydistill.runs import Lease, Run, RunStore
from keydistill.telemetry import carried, span

_R = TypeVar("_R", bound=Run)


class LocalWork(Generic[_R]):
    """Carries out one run at a time.

    Attributes:
        run: The run at hand, as it was last recorded; the one to resume when a call is interrupted.
    """

    # Errors after which the record is not ours to change: the run was cancelled, or another process goes on with it.
    NOT_OURS: ClassVar[tuple[type[Exception], ...]] = (RunStateError, LeaseLostError)

    def __init__(self, store: RunStore, of_kind: Callable[[Run], _R], progress: Progress = NO_PROGRESS) -> None:
        """Work without a run yet.

        Args:
            store: Store of the runs.
            of_kind: Function that returns the record of a run of the right kind, and raises for others.
            progress: Told about the steps, and that a run is paused.
        """
        self._store = store
        shown = WaitingProgress(progress)
        self._progress: Progress = shown
        self._show_waiting = shown.waiting
        self._of_kind = of_kind
        self.run: _R | None = None

    def resume(self, run_id: str) -> _R:
        """Take up a run that was interrupted or failed, and carry it to its end.

        Args:
            run_id: Id of the run, or the beginning of it.

        Returns:
            The run: done, live, or ready where it was made not to be swapped.

        Raises:
            RunStateError: The run is over or paused, or was cancelled meanwhile.
            RunBusyError: Another process is working on it, or another run has its place.
            StudentMismatchError: The student is no longer the one that the run began with.
            KeydistillError: The run failed; the record says why, and what was live before still is.
        """
        run = self._of_kind(self._store.load(run_id))
        check_may_begin(self._store, run)
        self._store.restore(run.id)
        with span(f"resume {run.kind}", parent=run.trace), self._store.lease(run.lease_name, run.id) as lease:
            return self._carry_out(self._reopened(run, lease), lease)

    def _begin(self, run: _R) -> _R:
        """Add a run to the store and carry it out; returns and raises as `resume` does."""
        with self._store.lease(run.lease_name, run.id) as lease:
            check_may_begin(self._store, run)
            self._store.add(run)
            self._added(run)
            return self._carry_out(run, lease)

    def _added(self, run: _R) -> None:
        """Called once a new run is on record."""

    def _reopened(self, run: _R, lease: Lease) -> _R:
        """The run, moved back to the state in which there is work to do."""
        return self._of_kind(self._store.update(run.id, lambda now: now.reopened().traced(carried()), lease))

    def _carry_out(self, run: _R, lease: Lease) -> _R:
        """Work until the run is over, and record a failure."""
        self.run = run
        try:
            with at_work_on(run, run.kind):
                run = self._work(run, lease)
        except self.NOT_OURS:
            raise
        except Exception as error:
            self._record_failure(run.id, error, lease)
            raise with_next_step(error, self.run) from error
        self.run = run
        return run

    def _work(self, run: _R, lease: Lease) -> _R:
        while not run.is_over:
            self.run = run
            run = self._step(self._unpaused(run, lease), lease)
        return run

    def _unpaused(self, run: _R, lease: Lease) -> _R:
        """The run, once nobody wants it to wait; the lease is kept meanwhile."""
        return wait_while_paused(self._store, run, lease, self._show_waiting)

    def _step(self, run: _R, lease: Lease) -> _R:
        """Do what the run's state asks for, and move the run on."""
        raise NotImplementedError

    def _record_failure(self, run_id: str, error: Exception, lease: Lease) -> None:
        try:
            record_failure(self._store, run_id, error, lease)
        except (RunStateError, LeaseLostError) as lost:
            raise lost from error  # what failed here is no longer for us to say
        except (OSError, RunError):
            pass  # a full disk may be what failed; then the record stays as it is, which can be resumed too
