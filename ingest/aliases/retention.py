"""Forgetting the records of runs that ended long ago, with the snapshots and other files that only they needed."""

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keydistill.errors import LeaseLostError, RunBusyError, RunNotFoundError
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.ingest.aliases.journal import accepted_syncs
from keydistill.runs import Run, RunStore, SyncRun, subject_of
from keydistill.settings import Settings
from keydistill.storage import shared_storage
from keydistill.vectorstore import CollectionMetadata, Engine


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What a retention forgets, and what it keeps although it is old, and why.

    Attributes:
        forget: Runs to forget, oldest first.
        keep: Ids of the other runs that are old enough, each with the reason.
    """

    forget: tuple[Run, ...]
    keep: Mapping[str, str]


class RunRetention:
    """The one place that forgets runs."""

    def __init__(self, settings: Settings, engine: Engine, store: RunStore) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store

    def plan(self) -> RetentionPlan:
        """What `prune` would do; nothing where `run_retention_days` is 0."""
        if not self._settings.run_retention_days:
            return RetentionPlan((), {})
        oldest = datetime.now(UTC) - timedelta(days=self._settings.run_retention_days)
        runs = self._store.all()
        # All of these look at all runs, whatever their age.
        reasons = {**_last_of_each_kind(runs), **self._needed_syncs(runs), **self._needed_by_collections()}
        forget: list[Run] = []
        keep: dict[str, str] = {}
        for run in reversed(runs):
            if run.updated_at >= oldest.isoformat(timespec="seconds"):
                continue
            reason = reasons.get(run.id) if run.is_at_rest else f"it is {run.state}"
            if reason is None:
                forget.append(run)
            else:
                keep[run.id] = reason
        return RetentionPlan(tuple(forget), keep)

    def prune(self) -> RetentionPlan:
        """Forget the runs of `plan`, in the store, on this machine and in the shared storage.

        Returns:
            The runs that were forgotten and kept.
        """
        plan = self.plan()
        shared = shared_storage(self._settings)
        forgotten: list[Run] = []
        for run in plan.forget:
            try:
                # Somebody may be about to resume one that failed.
                with nullcontext() if run.is_over else self._store.lease(run.lease_name, run.id):
                    if self._store.load(run.id) != run:
                        continue
                    # Before the record: whoever is killed here finds the rest by it.
                    shutil.rmtree(self._store.folder(run.id) / "snapshot", ignore_errors=True)
                    if shared is not None:
                        shared.drop_folder(f"snapshots/{run.id}")
                    self._store.forget(run.id)
            except (RunBusyError, LeaseLostError, RunNotFoundError):
                continue
            forgotten.append(run)
        return RetentionPlan(tuple(forgotten), plan.keep)

    def _needed_syncs(self, runs: list[Run]) -> dict[str, str]:
        """The last accepted sync of each alias: collections are brought up to it, and the next is numbered after it."""
        aliases = {run.alias for run in runs if isinstance(run, SyncRun)}
        lasts = [sync for alias in aliases for sync in accepted_syncs(self._store, alias)[-1:]]
        return {sync.id: f"it is the last accepted sync of alias {sync.alias}" for sync in lasts}

    def _needed_by_collections(self) -> dict[str, str]:
        """Runs that made, or are held by, a collection that is there, and those beside them in the history."""
        history = AliasHistory(self._engine, self._store, self._settings.alias)
        lost = self._engine.lost()
        needed: dict[str, str] = {}
        for name in self._engine.collections():
            owner = history.owner_of(name)
            ids = set() if owner is None else {owner.id}
            if name not in lost:
                metadata = CollectionMetadata.parse(self._engine.info(name))
                ids |= {str(metadata.run), str(metadata.snapshot_run), *(metadata.applying or ())}
            needed.update((run_id, f"collection {name} needs it") for run_id in ids)
        beside: dict[str, str] = {}
        for change in self._store.history():
            owners = [history.owner_of(name) for name in (change.before, change.after) if name is not None]
            ids = {owner.id for owner in owners if owner is not None} | ({change.run} if change.run else set())
            # Whether one was rolled back from is known by the order in which both went live.
            if change.moves_alias and ids & needed.keys():
                beside.update((run_id, f"the history of alias {change.alias} needs it") for run_id in ids)
        return {**beside, **needed}


def _last_of_each_kind(runs: list[Run]) -> dict[str, str]:
    """The last successful and the last failed run of each kind and alias."""
    lasts: dict[tuple[tuple[str, str], bool], Run] = {}
    for run in runs:  # newest first
        if run.state != "cancelled" and run.is_at_rest:
            lasts.setdefault((subject_of(run), run.state == "failed"), run)
    return {
        run.id: f"it is the last {run.kind} that " + ("failed" if failed else "succeeded")
        for (_, failed), run in lasts.items()
    }
