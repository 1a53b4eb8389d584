"""Records as what they must be: each of the commands goes on with runs of its own kind."""

from keydistill.errors import RunStateError
from keydistill.runs.record import ReindexRun, RetrainRun, Run, SyncRun


def reindex_of(run: Run) -> ReindexRun:
    """A record that must be that of a reindex.

    Raises:
        RunStateError: It is of another kind.
    """
    if not isinstance(run, ReindexRun):
        raise _other_kind(run)
    return run


def sync_of(run: Run) -> SyncRun:
    """A record that must be that of a sync.

    Raises:
        RunStateError: It is of another kind.
    """
    if not isinstance(run, SyncRun):
        raise _other_kind(run)
    return run


def retrain_of(run: Run) -> RetrainRun:
    """A record that must be that of a retrain.

    Raises:
        RunStateError: It is of another kind.
    """
    if not isinstance(run, RetrainRun):
        raise _other_kind(run)
    return run


def _other_kind(run: Run) -> RunStateError:
    return RunStateError(f"run {run.id} is a {run.kind}; go on with it by `keydistill {run.kind} --resume {run.id}`")
