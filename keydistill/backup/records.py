"""Records of runs and lines of the log, as a backup holds them."""

from keydistill.backup.archive import Archive
from keydistill.backup.manifest import Manifest, check_plain
from keydistill.errors import StorageError
from keydistill.runs import AliasChange, Run, SyncRun, read_run


def saved_records(archive: Archive, manifest: Manifest) -> tuple[list[Run], list[AliasChange]]:
    """Runs and lines of the log, the oldest line first.

    Raises:
        StorageError: A newer keydistill wrote one, or it is none.
    """
    run_lines, change_lines = (archive.contents(digest).splitlines() for digest in (manifest.runs, manifest.history))
    try:
        runs, changes = [read_run(line) for line in run_lines], [AliasChange.parse(line) for line in change_lines]
    except ValueError as error:
        raise StorageError(f"a record in backup {manifest.id} cannot be read: {error}") from None
    for run in runs:
        check_plain(run.id, f"backup {manifest.id}")
    return runs, changes


def at_rest(run: Run, backup: str) -> Run:
    """A run as it can be where it is restored: what was under way is not, as nothing of it is in the backup."""
    if run.is_at_rest:
        return run
    error = f"it was under way when backup {backup} was made"
    if isinstance(run, SyncRun) and run.state == "applying":
        return run.failed(f"{error}; go on with `keydistill sync --resume {run.id}`")
    return run.moved("cancelled", error=error)
