"""Changing the record of a run that is being worked on."""

from collections.abc import Callable
from typing import TypeVar, cast

from keydistill.errors import RunStateError
from keydistill.runs.record import Run
from keydistill.runs.store import Lease, RunStore

_R = TypeVar("_R", bound=Run)


def change_record(store: RunStore, run: _R, change: Callable[[_R], _R], lease: Lease) -> _R:
    """Change a run's record, unless it has moved on meanwhile.

    Args:
        store: Store with the record.
        run: The run as it was when the work began.
        change: Function from the present record to the new one.
        lease: Lease of the work.

    Raises:
        RunStateError: It was cancelled, or failed or went on elsewhere.
        LeaseLostError: Somebody else works on it.
    """

    def changed(present: Run) -> Run:
        if present.state != run.state:
            raise RunStateError(
                f"run {run.id} is {present.state} now, and no longer {run.state}: work on it stops here"
            )
        return change(cast(_R, present))

    return cast(_R, store.update(run.id, changed, lease))
