"""Where run records live when one machine does it all: a folder per run.

home/runs/ID/run.json      the record, replaced atomically
home/runs/ID/snapshot/     what the run works from
home/locks/ALIAS.lock      held by the process that builds for an alias
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from errors import RunBusyError, RunError, RunNotFoundError
from files import file_lock, replace_json
from ingest.run import Run


class FileRunStore:
    """Run records in the folder `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def folder(self, run_id: str) -> Path:
        """The folder of a run's files."""
        return self._home / "runs" / run_id

    def save(self, run: Run) -> Run:
        """Write the record; when this returns it survives a crash."""
        replace_json(self.folder(run.id) / "run.json", run.as_dict())
        return run

    def load(self, run_id: str) -> Run:
        """Read a record; a prefix of the id will do if it fits one run only.

        Raises:
            RunNotFoundError: No run has that id, or several begin like it.
        """
        ids = [run_id] if self._record(run_id).is_file() else [id for id in self._ids() if id.startswith(run_id)]
        if len(ids) != 1 or not run_id:
            found = f"{len(ids)} runs begin with it" if ids else "there is none"
            raise RunNotFoundError(f"run {run_id!r}: {found}; `keydistill runs list` shows them all")
        try:
            return Run.from_dict(json.loads(self._record(ids[0]).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self._record(ids[0])} is no run record ({error}); delete its folder") from None

    def all(self) -> list[Run]:
        """All runs, newest first."""
        return [self.load(run_id) for run_id in sorted(self._ids(), reverse=True)]

    @contextmanager
    def building_for(self, alias: str, run_id: str) -> Iterator[None]:
        """Be the one process that builds for an alias.

        Raises:
            RunBusyError: Another process is; the message names its run.
        """
        path = self._home / "locks" / f"{alias.replace('/', '_')}.lock"
        holder = path.with_suffix(".holder")
        with ExitStack() as held:
            try:
                held.enter_context(file_lock(path, blocking=False))
            except BlockingIOError:
                other = holder.read_text(encoding="utf-8") if holder.is_file() else "another run"
                raise RunBusyError(
                    f"run {other} is building for alias {alias!r}; "
                    f"wait for it (`keydistill runs show {other}`) or stop it"
                ) from None
            holder.write_text(run_id, encoding="utf-8")
            yield

    def _record(self, run_id: str) -> Path:
        return self.folder(run_id) / "run.json"

    def _ids(self) -> list[str]:
        return [record.parent.name for record in (self._home / "runs").glob("*/run.json")]
