"""Dropping collections that nothing needs any more, and the snapshots that only they needed."""

import shutil
from collections.abc import Collection
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keydistill.errors import CollectionNotFoundError, RunBusyError
from keydistill.ingest.aliases.changes import content_lease
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.ingest.aliases.journal import accepted_syncs
from keydistill.ingest.aliases.lease import alone
from keydistill.ingest.aliases.records import AliasRecords
from keydistill.runs import AliasChange, ReindexRun, RunStore, SyncRun
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionMetadata, Engine


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a prune drops, and what it keeps and why.

    Attributes:
        drop: Names of the collections to drop, oldest first.
        keep: Names of the collections that stay, each with the reason.
    """

    drop: tuple[str, ...]
    keep: dict[str, str]


class Pruning:
    """The one place that drops a collection which was ever live."""

    def __init__(self, settings: Settings, engine: Engine, store: RunStore) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store

    def plan(self, keep: int = 1, named: Collection[str] = ()) -> PrunePlan:
        """What `prune` would do.

        Args:
            keep: Number of formerly live collections that stay for a rollback.
            named: Collections to drop although no run or no history says where they come from.

        Raises:
            CollectionNotFoundError: One of `named` is not there.
        """
        return self._plan(self._history(), keep, named)

    def _plan(self, history: AliasHistory, keep: int, by_name: Collection[str]) -> PrunePlan:
        unknown_names = set(by_name) - set(self._engine.collections())
        if unknown_names:
            raise CollectionNotFoundError(
                f"collection {min(unknown_names)!r} is not there; `keydistill collections list` shows all"
            )
        named = {target: alias for alias, target in self._engine.aliases().items()}
        last_live = history.last_live()
        for_rollback = history.candidates()[:keep]
        lost = self._engine.lost()
        drop: list[str] = []
        keep_reasons: dict[str, str] = {}
        for name in self._engine.collections():
            run = history.owner_of(name)
            if name in named:
                reason: str | None = f"alias {named[name]} names it" + (
                    f"; {lost[name].problem}" if name in lost else ""
                )
            else:
                is_gone = name in lost and lost[name].is_gone
                reason = self._keep_reason(
                    name, run, history, last_live, for_rollback, is_gone=is_gone, by_name=name in by_name
                )
            if reason is None:
                drop.append(name)
            else:
                keep_reasons[name] = reason
        return PrunePlan(tuple(sorted(drop)), keep_reasons)

    def prune(
        self, keep: int = 1, why: str | None = None, by: str | None = None, *, named: Collection[str] = ()
    ) -> PrunePlan:
        """Drop the collections of the alias that nothing needs, and the snapshots here that only they needed.

        Returns:
            The collections that were dropped and kept.

        Raises:
            RunBusyError: A swap is under way.
        """
        alias = self._settings.alias
        with alone(self._store, alias, "prune") as lease:
            AliasRecords(self._engine, self._store).repair(alias, lease)
            history = self._history()
            plan = self._plan(history, keep, named)
            for name in plan.drop:
                run = history.owner_of(name)
                try:
                    # Whoever brings a collection up has a copy of it that nothing names yet.
                    with nullcontext() if run is None else self._store.lease(content_lease(run), "prune"):
                        lease.check()
                        self._engine.drop(name)
                except RunBusyError:
                    continue
                run_id = None if run is None else run.id
                self._store.note(AliasChange.made("prune", alias, name, None, why=why, run=run_id, by=by))
            self._drop_snapshots()
        return plan

    def _history(self) -> AliasHistory:
        return AliasHistory(self._engine, self._store, self._settings.alias)

    def _keep_reason(
        self,
        name: str,
        run: ReindexRun | None,
        history: AliasHistory,
        last_live: dict[str, str],
        for_rollback: list[str],
        *,
        is_gone: bool,
        by_name: bool,
    ) -> str | None:
        """Why a collection that no alias names stays; None where nothing needs it."""
        if run is None:
            # Then nothing is left of it but its name.
            return None if is_gone or by_name else "no run of ours built it; drop it with --collection"
        if run.alias != self._settings.alias:
            return f"it belongs to alias {run.alias}"
        if self._store.holder(content_lease(run)) is not None:
            return f"a sync is being applied to what run {run.id} built"
        if is_gone and run.is_at_rest:
            return None
        replaced = name != run.collection
        if not replaced and run.state not in ("retired", "cancelled", "live"):
            return f"run {run.id} is {run.state}; cancel it to let go of it"
        if name in for_rollback:
            return "kept for a rollback"
        if run.state in ("retired", "live") and not by_name and not history.reaches(run):
            return "the history does not reach back to it, so a rollback may need it; drop it with --collection"
        grace = datetime.now(UTC) - timedelta(seconds=self._settings.grace_seconds)
        used_until = max(last_live.get(name, ""), "" if replaced else run.updated_at)
        if used_until > grace.isoformat(timespec="seconds"):
            return f"used until {used_until}; readers may hold it for grace_seconds ({self._settings.grace_seconds:g})"
        return None

    def _drop_snapshots(self) -> None:
        """Drop all snapshots but those that a collection holds or is to be brought to, and those of work under way."""
        needed: set[str] = set()
        lost = self._engine.lost()
        history = self._history()
        for name in self._engine.collections():
            with suppress(CollectionNotFoundError):
                if name in lost:
                    # What a backup of it will have to be brought up from.
                    owner = history.owner_of(name)
                    needed.update([] if owner is None else [owner.id])
                    continue
                metadata = CollectionMetadata.parse(self._engine.info(name))
                needed.update([str(metadata.snapshot_run), *(metadata.applying or ())])
        needed.update(sync.id for sync in accepted_syncs(self._store, self._settings.alias)[-1:])
        for run in self._store.all():
            of_alias = isinstance(run, ReindexRun | SyncRun) and run.alias == self._settings.alias
            if of_alias and run.id not in needed and run.is_over:
                shutil.rmtree(self._store.folder(run.id) / "snapshot", ignore_errors=True)
