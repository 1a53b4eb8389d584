"""Changing what is live: swap, roll back, and bring to an accepted state of the inventory.

Each change of an alias is a compare-and-set under a lease, and goes into the log. A collection is put live only when it
holds every accepted sync: what is accepted is not lost, whichever collection takes over.
"""

from contextlib import suppress
from typing import Any

from keydistill.encoders import StudentFiles
from keydistill.errors import (
    CollectionNotFoundError,
    CollectionStateError,
    RunStateError,
    StudentError,
    StudentMismatchError,
)
from keydistill.ingest.aliases.catch_up import CatchUp
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.ingest.aliases.journal import missing_sync
from keydistill.ingest.aliases.lease import alone, patiently
from keydistill.ingest.aliases.records import AliasRecords
from keydistill.ingest.snapshot import RunSources
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import Action, AliasChange, Lease, ReindexRun, RunStore, SyncRun, reindex_of
from keydistill.settings import Settings
from keydistill.telemetry import span
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, Engine, check_alias_owner


class AliasChanges:
    """The one place that moves an alias."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RunStore,
        *,
        sources: RunSources | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        """Changes of the alias that the settings name.

        Args:
            settings: Settings that name the alias.
            engine: Engine with the collections and aliases.
            store: Store of the runs, the leases and the log.
            sources: Where students and snapshots are, for syncs to apply; None takes what the records say.
            progress: Told how far a sync is applied.
        """
        self._settings = settings
        self._engine = engine
        self._store = store
        self._records = AliasRecords(engine, store)
        sources = sources or RunSources(settings, store)
        self._catch_up = CatchUp(settings, engine, sources, progress)

    def swap_as_planned(self, run: ReindexRun, build: Lease) -> bool:
        """Do the last step of a run: point the alias at its collection, if it names what it named as the run began.

        Where a process was killed right after the swap, the alias names the collection already, and at most the line
        in the log is missing.

        Returns:
            Whether the collection is live. It is not where a sync was accepted that it does not hold: bring it up and
            try again.

        Raises:
            AliasChangedError: Somebody else swapped the alias; nothing was changed.
            LeaseLostError: The build's lease ran out; nothing was changed.
        """
        with alone(self._store, run.alias, run.id) as lease:

            def guard() -> None:
                lease.check()
                build.check()

            run = self._repaired(run, lease)
            present = self._engine.aliases().get(run.alias)
            if present != run.collection:
                if self._missing(run) is not None:
                    return False
                # A sync may have put a changed copy in the place of what the run saw.
                expected = self._successor(run.previous_target, present)
                self.check_may_swap(run)
                with span("move alias", alias=run.alias, generation=run.collection, before=present):
                    self._engine.swap_alias(run.alias, run.collection, expected, guard)
                self._records.record_swap(run, lease, "swap", present, None, run.started_by)
            return True

    def check_may_swap(self, run: ReindexRun) -> None:
        """Raise unless the run's alias may be pointed at what the run builds, by this installation and now.

        Raises:
            AliasHeldError: Somebody holds the alias.
            AliasOwnedError: The alias belongs to another installation, and nobody said to take it over.
            CollectionExistsError: A collection has the alias's name.
        """
        AliasHistory(self._engine, self._store, run.alias).check_may_move()
        if not (self._settings.take_over or run.settings.get("take_over")):
            check_alias_owner(self._engine, run.alias, self._store.installation())

    def swap(self, run_id: str, why: str | None = None, *, force: bool = False) -> ReindexRun:
        """Put the collection of a run live that was built with `--no-swap`.

        Args:
            run_id: The run, or the beginning of its id.
            why: Reason, for the log.
            force: Swap although the gate refused, for the reason `why`; a collection that was not verified is never
                swapped in.

        Raises:
            RunStateError: The run is not ready, or there is no reason.
            AliasChangedError: Somebody swapped the alias at the same time.
        """
        run = reindex_of(self._store.load(run_id))
        with alone(self._store, run.alias, run.id) as lease:
            run = self._repaired(run, lease)
        reason = (why or "").strip()
        if force and not reason:
            raise RunStateError(f"run {run.id} can be forced only for a reason, which is kept; give --why REASON")
        if force and run.state == "failed":
            # The run becomes ready first: a process that dies in between leaves a run that can be swapped in.
            run = reindex_of(self._store.update(run.id, lambda now: _forced(reindex_of(now), reason)))
        if run.state != "ready":
            raise RunStateError(
                f"run {run.id} is {run.state}; only one that is ready can be swapped in"
                + (", a retired one by `keydistill collections rollback --to`" if run.state == "retired" else "")
                + (f"; see `keydistill gate {run.id}`" if run.failed_in == "gating" else "")
            )
        return self._put_live(run, "swap", why)

    def rollback(self, to: str | None = None, why: str | None = None, *, force: bool = False) -> ReindexRun:
        """Put an earlier collection of the alias live again.

        Args:
            to: Name of the collection; None takes the last one that was live and was not rolled back from itself.
            why: Reason, for the log.
            force: Go to `to` also if it was rolled back from.

        Raises:
            CollectionNotFoundError: There is no collection to go back to.
            StudentMismatchError: The student that built the collection is not there any more.
            RunStateError: The collection was never live.
        """
        alias = self._settings.alias
        with alone(self._store, alias, "rollback") as lease:
            self._records.repair(alias, lease)
        history = AliasHistory(self._engine, self._store, alias)
        if to is None:
            to = next(iter(history.candidates()), None)
            if to is not None and history.is_rolled_back_from(to):
                raise CollectionNotFoundError(
                    f"alias {alias!r} has no earlier collection that was not rolled back from; to go back to one that "
                    f"was: `keydistill collections rollback --to {to} --force`"
                )
            if to is None:
                raise CollectionNotFoundError(
                    f"alias {alias!r} has no earlier collection to go back to; `keydistill collections list` shows all"
                )
        if to not in self._engine.collections():
            raise CollectionNotFoundError(f"collection {to!r} is not there, or was pruned; see `collections history`")
        run = history.owner_of(to)
        if run is None or run.alias != alias:
            raise RunStateError(f"collection {to!r} was built by no run of alias {alias!r}")
        if run.collection != to:
            raise RunStateError(
                f"collection {to!r} is what {run.collection!r} was before a sync changed it; roll back to that one"
            )
        if run.state == "live":
            raise RunStateError(f"collection {to!r} is live already")
        if run.state != "retired":
            raise RunStateError(f"run {run.id}, which built {to!r}, is {run.state} and was never live")
        if not force and history.is_rolled_back_from(to):
            raise RunStateError(f"collection {to!r} was rolled back from; put it live all the same with --force")
        history.check_may_move()
        self._check_student(self._engine.info(to))
        return self._put_live(run, "rollback", why)

    def hold(self, why: str) -> AliasChange:
        """Stop every swap and rollback of the alias until `release`; syncs still change what is live.

        Raises:
            RunStateError: There is no reason.
        """
        if not why.strip():
            raise RunStateError("an alias is held for a reason, which is kept; give --why REASON")
        return self._note_hold("hold", why.strip())

    def release(self, why: str | None = None) -> AliasChange:
        """Let the alias move again.

        Raises:
            RunStateError: Nobody holds it.
        """
        if AliasHistory(self._engine, self._store, self._settings.alias).hold() is None:
            raise RunStateError(f"alias {self._settings.alias!r} is not held; there is nothing to release")
        return self._note_hold("release", why)

    def _note_hold(self, action: Action, why: str | None) -> AliasChange:
        alias = self._settings.alias
        with alone(self._store, alias, action) as lease:
            self._records.repair(alias, lease)
            target = self._engine.aliases().get(alias)
            change = AliasChange.made(action, alias, target, target, why=why)
            self._store.note(change)
        return change

    def bring_up(self, run: ReindexRun) -> tuple[ReindexRun, dict[str, Any]]:
        """Apply the last accepted sync to the collection of a run, if it does not hold it yet.

        Returns:
            The run, whose collection may be a changed copy now, and a summary of the changes, empty if it lacked none.

        Raises:
            RunBusyError: Another process is applying a sync to it, and does not end.
            StudentMismatchError: The student that built it is not there any more.
        """
        applied: dict[str, Any] = {}
        while True:
            # A process may have died after the alias named a changed copy: then that is the run's collection.
            with alone(self._store, run.alias, run.id) as lease:
                run = self._repaired(run, lease)
            if self._missing(run) is None:
                return run, applied
            with patiently(self._store, content_lease(run), run.id) as lease:
                run = reindex_of(self._store.load(run.id))
                sync = self._missing(run)  # somebody else may have applied it while we waited
                if sync is not None:
                    target, applied = self._catch_up.apply(run, sync, lease)
                    run = self._adopt(run, target, sync)

    def _repaired(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        """The run as it is on record, after the records were brought in step with the alias."""
        self._records.repair(run.alias, lease)
        return reindex_of(self._store.load(run.id))

    def _missing(self, run: ReindexRun) -> SyncRun | None:
        return missing_sync(self._store, run.alias, CollectionMetadata.parse(self._engine.info(run.collection)))

    def _successor(self, previous: str | None, present: str | None) -> str | None:
        """What the alias must name where a run saw `previous`: that, or the copy that a sync put in its place."""
        if previous is None or present is None or previous == present:
            return previous
        owner = AliasHistory(self._engine, self._store, self._settings.alias).owner_of(previous)
        return present if owner is not None and owner.collection == present else previous

    def _adopt(self, run: ReindexRun, target: str, sync: SyncRun) -> ReindexRun:
        """Put the changed copy in the place of the run's collection."""
        before = run.collection
        if target == before:
            return run
        with alone(self._store, run.alias, sync.id) as lease:
            self._records.repair(run.alias, lease)
            is_live = self._engine.aliases().get(run.alias) == before
            if is_live:
                self._engine.swap_alias(run.alias, target, before, lease.check)
                change = AliasChange.made("sync", run.alias, before, target, why=f"sync {sync.id}", run=run.id)
                self._store.note(change)
            adopted = reindex_of(self._store.update(run.id, lambda now: now.changed(collection=target), lease))
        if not is_live and adopted.state not in ("live", "retired"):
            # Nobody has read it yet. What was once live stays for its readers until it is pruned.
            with suppress(CollectionNotFoundError):
                self._engine.drop(before)
        return adopted

    def _put_live(self, run: ReindexRun, action: Action, why: str | None) -> ReindexRun:
        while True:
            run, _ = self.bring_up(run)
            with alone(self._store, run.alias, run.id) as lease:
                run = self._repaired(run, lease)
                if self._missing(run) is not None:
                    continue  # a sync was accepted in between
                before = self._engine.aliases().get(run.alias)
                if before != run.collection:
                    self.check_may_swap(run)
                    with span("move alias", alias=run.alias, generation=run.collection, before=before):
                        self._engine.swap_alias(run.alias, run.collection, before, lease.check)
                    self._records.record_swap(run, lease, action, before, why)
                return self._records.put_live(run, lease)

    def _check_student(self, info: CollectionInfo) -> None:
        """Raise unless the student that built a collection is still there: a reader of the collection loads it."""
        metadata = CollectionMetadata.parse(info)
        expected, source = metadata.student_version, str(metadata.student)
        try:
            version = StudentFiles.find(source, dimension=info.dimension).version
        except StudentError as error:
            raise StudentMismatchError(f"collection {info.name} cannot be read any more: {error}") from None
        if version != expected:
            raise StudentMismatchError(
                f"collection {info.name} was built by student {expected}, {source} is {version} now; put the old one "
                "back"
            )
        if info.state != "ready":
            raise CollectionStateError(f"collection {info.name} is {info.state}")


def content_lease(run: ReindexRun) -> str:
    """Name of the lease on what a run's collection holds, once it is built."""
    return f"content:{run.id}"


def _forced(run: ReindexRun, reason: str) -> ReindexRun:
    """A copy of the run that is ready, although the gate refused it.

    Raises:
        RunStateError: It was not the gate that refused it, after it was verified.
    """
    refused = run.state == "failed" and run.failed_in == "gating" and run.gate.get("verdict") == "refused"
    if not (refused and run.report):
        where = f"failed while {run.failed_in}" if run.failed_in else run.state
        raise RunStateError(
            f"run {run.id} {where}, and it was not the gate that refused it; only a verified collection can be forced: "
            f"`keydistill reindex --resume {run.id}`"
        )
    return run.moved("ready", forced=reason, error=None, failed_in=None)
