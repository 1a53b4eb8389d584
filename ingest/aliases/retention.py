"""Forgetting records of runs that nobody needs any more."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from keydistill.errors import CollectionLostError, CollectionNotFoundError, RunNotFoundError
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.ingest.aliases.journal import accepted_syncs
from keydistill.runs import Run, RunStore, SyncRun, subject_of, unfinished_runs
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionMetadata, Engine


class Retention:
    """Forgets runs that are over, older than `run_retention_days`, and needed by nothing that is still there.

    Failed ones are over when a later run of their kind and alias succeeded. Needed are the runs of present collections
    and of the snapshots that they hold or are brought to, the last accepted sync of each alias, and of each kind and
    alias the last run of each state. The audit log stays as it is.
    """

    def __init__(self, settings: Settings, engine: Engine, store: RunStore) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store

    def plan(self) -> list[Run]:
        """The runs that `forget` would forget, the oldest first; none where `run_retention_days` is 0."""
        if not self._settings.run_retention_days:
            return []
        runs = self._store.all()
        limit = datetime.now(UTC) - timedelta(days=self._settings.run_retention_days)
        needed = self._needed(runs)
        return [
            run
            for run in reversed(runs)
            if run.is_at_rest and run.id not in needed and run.updated_at < limit.isoformat(timespec="seconds")
        ]

    def forget(self) -> list[Run]:
        """Forget them, with their files on this machine.

        Returns:
            The runs that were forgotten.
        """
        forgotten = self.plan()
        for run in forgotten:
            with suppress(RunNotFoundError):  # somebody else was faster
                self._store.forget(run.id)
        return forgotten

    def _needed(self, runs: list[Run]) -> set[str]:
        needed: set[str] = set()
        last = {(*subject_of(run), run.state): run.id for run in reversed(runs)}
        needed.update(last.values())
        needed.update(run.id for run in unfinished_runs(runs))
        aliases = {run.alias for run in runs if isinstance(run, SyncRun)}
        needed.update(sync.id for alias in aliases for sync in accepted_syncs(self._store, alias)[-1:])
        history = AliasHistory(self._engine, self._store, self._settings.alias)
        for name in self._engine.collections():
            owner = history.owner_of(name)
            if owner is not None:
                needed.add(owner.id)
            with suppress(CollectionNotFoundError, CollectionLostError):
                metadata = CollectionMetadata.parse(self._engine.info(name))
                needed.update([str(metadata.run), str(metadata.snapshot_run), *(metadata.applying or ())])
        return needed
