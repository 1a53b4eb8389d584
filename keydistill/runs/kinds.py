"""Records as what they must be: each of the commands goes on with runs of its own kind."""

from collections.abc import Callable
from typing import TypeVar

from keydistill.errors import RunStateError
from keydistill.runs.record import ReindexRun, RetrainRun, Run, SyncRun

_R = TypeVar("_R", bound=Run)


def _record_of(kind: type[_R]) -> Callable[[Run], _R]:
    """A function that returns a record as one of its kind, and raises `RunStateError` if it is of another kind."""

    def narrowed(run: Run) -> _R:
        if not isinstance(run, kind):
            raise RunStateError(
                f"run {run.id} is a {run.kind}; go on with it by `keydistill {run.kind} --resume {run.id}`"
            )
        return run

    return narrowed


reindex_of = _record_of(ReindexRun)
sync_of = _record_of(SyncRun)
retrain_of = _record_of(RetrainRun)
