"""Recording a failure of a run, in one way for every process that carries runs out."""

import errno
from collections.abc import Mapping

from keydistill.errors import KeydistillError, RunError, RunStateError
from keydistill.runs import Lease, Run, RunStore, State

# What is done in states whose names do not say it.
_STEPS: Mapping[State, str] = {
    "planned": "checking the order",
    "snapshot": "reading the inventory",
    "ready": "moving the alias",
    "applying": "applying its changes",
}


def record_failure(store: RunStore, run_id: str, reason: object, lease: Lease | None = None) -> None:
    """Record why a run failed, and give up a lease that is kept for it while no process works on it.

    Args:
        store: Store with the record.
        run_id: Id of the run.
        reason: The error, or a sentence on it.
        lease: Lease of the work that failed; without one, the caller has seen that nobody works on the run.

    Raises:
        RunStateError: The run is over, as when it was cancelled, or has failed already: then this is no failure of it.
        LeaseLostError: Another process goes on with the run.
        RunNotFoundError: The store has lost the run's record.
        RedisUnavailableError: The store cannot be reached.
    """

    def failed(present: Run) -> Run:
        if present.is_over:
            raise RunStateError(f"run {run_id} is {present.state}: it cannot fail any more")
        return present.failed(reason)

    run = store.update(run_id, failed, lease)
    store.give_up(run.lease_name, run_id)


def with_next_step(error: Exception, run: Run) -> Exception:
    """The error that ended the work on a run; one that a person can mend says what to do next."""
    resume = f"`keydistill {run.kind} --resume {run.id}`"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"run {run.id} failed: no space left on the disk of {error.filename or 'its files'}; make room, "
            f"then {resume}"
        )
    if isinstance(error, KeydistillError):
        reason = " ".join(str(error).split())
        # Many errors say themselves what to do.
        advice = "" if "`keydistill" in reason else f"; mend it, then {resume}"
        return type(error)(f"run {run.id} failed while {_STEPS.get(run.state, run.state)}: {reason}{advice}")
    return error
