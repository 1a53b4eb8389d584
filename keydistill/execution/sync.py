"""A sync in one process: the live collection is brought to a new state of the inventory."""

from collections.abc import Sequence
from pathlib import Path

from keydistill.execution.local import LocalWork
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.steps import SyncPlan, SyncSteps
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import Lease, SyncRun, open_store, sync_of
from keydistill.settings import Settings
from keydistill.vectorstore import Engine


class Syncer(LocalWork[SyncRun]):
    """Makes syncs and carries them out."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        progress: Progress = NO_PROGRESS,
        sources: RunSources | None = None,
    ) -> None:
        super().__init__(open_store(settings))
        self._steps = SyncSteps(settings, engine, self._store, progress, sources=sources)

    def plan(self, files: Sequence[Path], *, categories: Path | None = None) -> SyncPlan:
        """See `SyncSteps.plan`."""
        return self._steps.plan(files, categories=categories)

    def start(self, files: Sequence[Path], *, categories: Path | None = None) -> SyncRun:
        """Make a sync and carry it out; see `resume` for what it returns and raises.

        Raises:
            CollectionNotFoundError: Nothing is live.
        """
        run = self._steps.new_run(files, categories=categories)
        with self._store.lease(run.lease_name, run.id) as lease:
            self._store.add(run)
            return self._carry_out(run, lease)

    def resume(self, run_id: str) -> SyncRun:
        """Take up a sync that was interrupted or failed, and carry it to its end.

        Returns:
            The run, done.

        Raises:
            RunStateError: It is over.
            RunBusyError: Another process is working on it.
            KeydistillError: A step failed; the record says why.
        """
        run = sync_of(self._store.load(run_id))
        self._store.restore(run.id)
        with self._store.lease(run.lease_name, run.id) as lease:
            return self._carry_out(sync_of(self._store.update(run.id, lambda now: now.reopened(), lease)), lease)

    def _carry_out(self, run: SyncRun, lease: Lease) -> SyncRun:
        return self.carry_out(run, lease, lambda run: self._steps.advance(run, lease))
