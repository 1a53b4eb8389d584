"""What became of runs, as others of their kind and alias see it."""

from collections.abc import Sequence

from keydistill.runs.record import ReindexRun, Run, SyncRun

_SUCCESSES = frozenset({"live", "retired", "done"})


def subject_of(run: Run) -> tuple[str, str]:
    """Kind of a run, and its alias; "" for one that has none."""
    return run.kind, run.alias if isinstance(run, ReindexRun | SyncRun) else ""


def has_succeeded(run: Run) -> bool:
    """Whether a run came to its end, a build that was not to be swapped included."""
    return run.state in _SUCCESSES or (isinstance(run, ReindexRun) and run.state == "ready" and not run.swap)


def unfinished_runs(runs: Sequence[Run]) -> list[Run]:
    """Runs that are not over, but for failures that a later success of the same kind and alias made moot."""
    return [run for run in runs if not run.is_over and not (run.state == "failed" and _is_moot(run, runs))]


def _is_moot(failed: Run, runs: Sequence[Run]) -> bool:
    return any(
        has_succeeded(run) and subject_of(run) == subject_of(failed) and run.created_at > failed.created_at
        for run in runs
    )
