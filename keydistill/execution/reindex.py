"""A reindex in one process: inventory -> snapshot -> new collection -> verified -> alias swapped."""

from collections.abc import Sequence
from pathlib import Path

from keydistill.execution.local import LocalWork
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.steps import ReindexSteps
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import Lease, ReindexRun, open_store, reindex_of
from keydistill.settings import Settings
from keydistill.telemetry import span
from keydistill.vectorstore import Engine


class Reindexer(LocalWork[ReindexRun]):
    """Makes reindexes and carries them out."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        progress: Progress = NO_PROGRESS,
        sources: RunSources | None = None,
    ) -> None:
        super().__init__(open_store(settings), reindex_of, progress)
        self._steps = ReindexSteps(settings, engine, self._store, self._progress, sources=sources)

    def start(self, files: Sequence[Path], *, categories: Path | None = None, swap: bool = True) -> ReindexRun:
        """Make a reindex and carry it out; returns and raises as `resume` does."""
        with span("order reindex"):
            return self._begin(self._steps.new_run(files, categories=categories, swap=swap))

    def _step(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        if run.state == "building":
            run = self._embed(run, lease)
        return self._steps.advance(run, lease)

    def _embed(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        missing = run.missing_parts
        if missing:
            self._progress.start("embed and upsert", self._steps.rows_of(run, missing), "keyphrases")

        def recorded(present: ReindexRun) -> None:
            self.run = present

        with span("embed parts", parts=len(missing)):
            return self._steps.embed_parts(
                run, missing, lease, recorded, before_part=lambda: self._unpaused(run, lease)
            )
