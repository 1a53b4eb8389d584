"""A sync in one process: the live collection is brought to a new state of the inventory."""

from collections.abc import Sequence
from pathlib import Path

from keydistill.execution.local import LocalWork
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.steps import SyncPlan, SyncSteps
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import Lease, SyncRun, open_store, sync_of
from keydistill.settings import Settings
from keydistill.telemetry import span
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
        super().__init__(open_store(settings), sync_of, progress)
        self._steps = SyncSteps(settings, engine, self._store, self._progress, sources=sources)

    def plan(self, files: Sequence[Path], *, categories: Path | None = None) -> SyncPlan:
        """The plan of a sync, as `SyncSteps.plan` makes it."""
        return self._steps.plan(files, categories=categories)

    def start(self, files: Sequence[Path], *, categories: Path | None = None) -> SyncRun:
        """Make a sync and carry it out; returns and raises as `resume` does.

        Raises:
            CollectionNotFoundError: Nothing is live.
        """
        with span("order sync"):
            return self._begin(self._steps.new_run(files, categories=categories))

    def _step(self, run: SyncRun, lease: Lease) -> SyncRun:
        return self._steps.advance(run, lease)
