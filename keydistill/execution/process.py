"""What a worker process keeps open: settings, store, engine, the student. Each process makes its own after the fork.

torch hangs in a child if its parent has used it (https://github.com/pytorch/pytorch/issues/17199), connections must not
be shared, and a process of the pool has four seconds to start: so everything is opened when it is first needed.
"""

import os
from functools import cached_property
from typing import TYPE_CHECKING

from keydistill.execution.sources import shared_sources
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.steps import ReindexSteps, SyncSteps
from keydistill.runs import RecordedProgress, ReindexRun, SharedRunStore, SyncRun, open_shared_store, open_signs
from keydistill.settings import Settings, load_settings
from keydistill.telemetry import begin_traces
from keydistill.vectorstore import Engine

if TYPE_CHECKING:
    from keydistill.runs.redis_signs import Signs


class WorkerProcess:
    """The settings, store, engine and student that one process has opened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pid = os.getpid()

    @cached_property
    def store(self) -> SharedRunStore:
        """The store of runs and leases."""
        return open_shared_store(self.settings)

    @cached_property
    def signs(self) -> "Signs":
        """Troubles of runs, as operators are told of them."""
        return open_signs(self.settings)

    @cached_property
    def engine(self) -> Engine:
        """The Qdrant server."""
        from keydistill.vectorstore import open_engine

        return open_engine(self.settings)

    @cached_property
    def sources(self) -> RunSources:
        """Students and snapshots, from this machine or the shared storage; the student is kept from part to part."""
        return shared_sources(self.settings, self.store)

    @cached_property
    def embedding(self) -> ReindexSteps:
        """Steps of a reindex for a worker that embeds."""
        return ReindexSteps(self.settings, self.engine, self.store, sources=self.sources)

    def steps(self, run: ReindexRun) -> ReindexSteps:
        """Steps of a reindex, which record their progress with the run."""
        return ReindexSteps(
            self.settings,
            self.engine,
            self.store,
            RecordedProgress(self.store, run.id),
            sources=self.sources,
        )

    def sync_steps(self, run: SyncRun) -> SyncSteps:
        """Steps of a sync, which record their progress with the run; the student is that of `embedding`."""
        return SyncSteps(
            self.settings.model_copy(update={"alias": run.alias}),
            self.engine,
            self.store,
            RecordedProgress(self.store, run.id),
            sources=self.sources,
        )


_present: WorkerProcess | None = None


def worker_process() -> WorkerProcess:
    """The one `WorkerProcess` of this process."""
    global _present
    if _present is None or _present.pid != os.getpid():
        _present = WorkerProcess(load_settings())
        begin_traces(_present.settings, "worker")
    return _present
