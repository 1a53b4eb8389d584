"""A reindex in one process: inventory -> snapshot -> new collection -> verified -> alias swapped."""

from collections.abc import Sequence
from pathlib import Path

from keydistill.execution.local import LocalWork
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.steps import ReindexSteps
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import Lease, ReindexRun, open_store, reindex_of
from keydistill.settings import Settings
from keydistill.vectorstore import Engine


class Reindexer(LocalWork[ReindexRun]):
    """Makes runs and carries them out."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        progress: Progress = NO_PROGRESS,
        sources: RunSources | None = None,
    ) -> None:
        super().__init__(open_store(settings))
        self._progress = progress
        self._steps = ReindexSteps(settings, engine, self._store, self._progress, sources=sources)

    def start(self, files: Sequence[Path], *, categories: Path | None = None, swap: bool = True) -> ReindexRun:
        """Make a run and carry it out; see `resume` for what it returns and raises."""
        run = self._steps.new_run(files, categories=categories, swap=swap)
        with self._store.lease(run.lease_name, run.id) as lease:
            self._store.add(run)
            return self._carry_out(run, lease)

    def resume(self, run_id: str) -> ReindexRun:
        """Take up a run that was interrupted or failed, and carry it to its end.

        Returns:
            The run: live, or ready where it was made with `swap=False`.

        Raises:
            RunStateError: It is over.
            RunBusyError: Another process is working on it.
            StudentMismatchError: The student is no longer the one that the run began with.
            KeydistillError: A step failed; the record says why, and what was live before still is.
        """
        run = reindex_of(self._store.load(run_id))
        self._store.restore(run.id)
        with self._store.lease(run.lease_name, run.id) as lease:
            return self._carry_out(reindex_of(self._store.update(run.id, lambda now: now.reopened(), lease)), lease)

    def _carry_out(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        def step(run: ReindexRun) -> ReindexRun:
            if run.state == "building":
                run = self._embed(run, lease)
            return self._steps.advance(run, lease)

        return self.carry_out(run, lease, step)

    def _embed(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        missing = run.missing_parts
        if missing:
            self._progress.start("embed and upsert", self._steps.rows_of(run, missing), "keyphrases")

        def recorded(now: ReindexRun) -> None:
            self.run = now

        return self._steps.embed_parts(run, missing, lease, recorded)
