"""The steps of a sync: what is done in each state of its run, whichever process does it.

The new inventory becomes a snapshot, the snapshot is accepted, and every collection is brought to it: the live one and,
where collections change in place, the one kept for a rollback at once; one that is being built before it is put live;
one that is rolled back to, before that.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keydistill.errors import CollectionNotFoundError, InputError, RunError, StudentError
from keydistill.ingest.aliases import AliasChanges, AliasHistory, alone, last_number, missing_sync
from keydistill.ingest.snapshot import (
    ChangeCounts,
    RunSources,
    Snapshot,
    SnapshotSettings,
    build_snapshot,
    compare,
    of_the_same_files,
)
from keydistill.progress import NO_PROGRESS, Progress, WaitingProgress
from keydistill.runs import (
    Executor,
    Lease,
    ReindexRun,
    RunStore,
    State,
    SyncRun,
    change_record,
    new_run_id,
    now,
    present_user,
)
from keydistill.settings import Settings
from keydistill.telemetry import carried, span
from keydistill.vectorstore import CollectionMetadata, Engine

# Settings that decide a snapshot: those of the process that ordered the sync count, wherever it is carried out.
_DECIDING = ("part_rows", "max_reject_share", "max_keyphrase_chars", "decimal_comma", "missing_values")


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """A sync that was not started: its changes to the live collection, and the reason why it would be refused."""

    collection: str
    rows: int
    changes: ChangeCounts
    refused: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class SyncSteps:
    """Makes the record of a sync, and does its steps one at a time."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RunStore,
        progress: Progress = NO_PROGRESS,
        *,
        sources: RunSources | None = None,
    ) -> None:
        """Steps of syncs on this machine; nothing is loaded yet. The arguments are those of `ReindexSteps`."""
        self._settings = settings
        shown = WaitingProgress(progress)
        self._progress: Progress = shown
        # An order is refused at once by a server that is away; work on a run waits for it.
        self._ordered_from = engine
        self._engine = engine.patient(settings.qdrant_patience_seconds, shown.waiting)
        self._store = store
        self._sources = sources or RunSources(settings, store)
        self._changes = AliasChanges(settings, self._engine, store, sources=self._sources, progress=self._progress)

    def new_run(
        self,
        files: Sequence[Path],
        *,
        categories: Path | None = None,
        executor: Executor = "local",
        started_by: str | None = None,
    ) -> SyncRun:
        """A record of a new run, which is in no store yet.

        Raises:
            CollectionNotFoundError: Nothing is live.
        """
        settings = self._settings
        self._ordered_from.aliases()
        self._live(settings.alias)
        created_at = now()
        return SyncRun(
            id=new_run_id(),
            kind="sync",
            state="planned",
            created_at=created_at,
            updated_at=created_at,
            executor=executor,
            started_by=started_by or present_user(),
            trace=carried(),
            files=tuple(str(file.absolute()) for file in files),
            categories=None if categories is None else str(categories.absolute()),
            settings={name: getattr(settings, name) for name in _DECIDING},
            alias=settings.alias,
            max_removed_share=settings.max_removed_share,
        )

    def plan(self, files: Sequence[Path], *, categories: Path | None = None) -> SyncPlan:
        """What a sync would change; reads the inventory and leaves nothing behind.

        Raises:
            CollectionNotFoundError: Nothing is live.
            InputError: An inventory file cannot be used.
        """
        run = self.new_run(files, categories=categories)
        owner = self._live(run.alias)
        work = self._settings.home / "tmp"
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".plan-", dir=work) as folder:
            new = self._built(run, owner, Path(folder) / "snapshot")
            base = self._base(owner)
            with compare([base], new, work, self._settings.memory_mb) as changes:
                counts = changes.counts
        refusal = _refusal(run, counts, base)
        return SyncPlan(owner.collection, new.summary.rows, counts, None if refusal is None else str(refusal))

    @property
    def steps(self) -> Mapping[State, Callable[[SyncRun], tuple[State, dict[str, Any]]]]:
        """States, each with its step: a function that returns the next state and what changes in the record."""
        return {
            "planned": lambda run: ("snapshot", {}),
            "snapshot": self._prepare,
            "applying": self._apply,
        }

    def advance(self, run: SyncRun, lease: Lease) -> SyncRun:
        """Do the step of the run's state and move the run on.

        Raises:
            LeaseLostError: Somebody else works on the run.
            RunStateError: The run was cancelled, or failed elsewhere.
            KeydistillError: The step failed; the record is as it was.
        """
        began = time.monotonic()
        with span("begin" if run.state == "planned" else run.state):
            state, changes = self.steps[run.state](run)
        seconds = time.monotonic() - began

        def moved(present: SyncRun, **more: Any) -> SyncRun:
            return present.moved(state, **changes, **more).timed(run.state, seconds)

        if state != "applying":
            return change_record(self._store, run, moved, lease)
        # The sync is accepted here: from now on no collection is put live that does not hold it.
        with alone(self._store, run.alias, run.id):
            number = last_number(self._store, run.alias) + 1
            return change_record(self._store, run, partial(moved, journal=number), lease)

    def _prepare(self, run: SyncRun) -> tuple[State, dict[str, Any]]:
        """Make the snapshot that is to be accepted, unless nothing would change."""
        owner = self._live(run.alias)
        base = self._base(owner)
        behind = (
            missing_sync(self._store, run.alias, CollectionMetadata.parse(self._engine.info(owner.collection)))
            is not None
        )
        rules = SnapshotSettings.of(self._settings.model_copy(update=dict(run.settings)))
        if not behind and base.settings.same_rules(rules) and of_the_same_files(base, run.files, run.categories):
            return "done", {"rows": base.summary.rows}
        folder = self._store.folder(run.id) / "snapshot"
        new = Snapshot.open(folder) if folder.exists() else self._built(run, owner, folder)
        with compare([base], new, self._settings.home / "tmp", self._settings.memory_mb) as changes:
            counts = changes.counts
        if not behind and not counts.any:
            return "done", {"rows": new.summary.rows, "rejected": new.summary.rows_rejected}
        refusal = _refusal(run, counts, base)
        if refusal is not None:
            raise refusal
        self._sources.publish_snapshot(run.id)
        return "applying", {"rows": new.summary.rows, "rejected": new.summary.rows_rejected}

    def _apply(self, run: SyncRun) -> tuple[State, dict[str, Any]]:
        """Bring what is live, and what is kept for a rollback, to the last accepted sync."""
        changes_by_collection: dict[str, Any] = {}
        while True:
            owner, changes = self._changes.bring_up(self._live(run.alias))
            if changes:
                changes_by_collection[owner.collection] = changes
            # A swap may have come in between; it put nothing live that lacks an earlier accepted sync.
            if self._engine.aliases().get(run.alias) == owner.collection:
                break
        if self._engine.changes_in_place:
            changes_by_collection.update(self._bring_up_for_rollback(run.alias))
        return "done", {"changes": changes_by_collection}

    def _bring_up_for_rollback(self, alias: str) -> dict[str, Any]:
        """Bring the collection that is kept for a rollback up to date; returns its changes by its name."""
        history = AliasHistory(self._engine, self._store, alias)
        name = next(iter(history.candidates()), None)
        owner = None if name is None else history.owner_of(name)
        if owner is None:
            return {}
        try:
            _, changes = self._changes.bring_up(owner)
        except (StudentError, InputError, CollectionNotFoundError) as reason:
            # A rollback to it fails for the same reason, and says so; the live collection is as it should be.
            return {owner.collection: {"skipped": str(reason)}}
        return {owner.collection: changes} if changes else {}

    def _live(self, alias: str) -> ReindexRun:
        """The run whose collection is live.

        Raises:
            CollectionNotFoundError: Nothing is live.
            RunError: No run on record built the live collection.
        """
        live = self._engine.aliases().get(alias)
        if live is None:
            raise CollectionNotFoundError(
                f"alias {alias!r} names no collection yet, so that there is nothing to sync; build one with "
                "`keydistill reindex INVENTORY`"
            )
        owner = AliasHistory(self._engine, self._store, alias).owner_of(live)
        if owner is None:
            raise RunError(
                f"collection {live} was built by no run that is on record here; build one with `keydistill reindex "
                "INVENTORY`, which can be synced from then on"
            )
        return owner

    def _base(self, owner: ReindexRun) -> Snapshot:
        """The snapshot that a run's collection holds now."""
        metadata = CollectionMetadata.parse(self._engine.info(self._engine.aliases()[owner.alias]))
        return self._sources.snapshot(metadata.snapshot_run or owner.id)

    def _built(self, run: SyncRun, owner: ReindexRun, folder: Path) -> Snapshot:
        return build_snapshot(
            [Path(file) for file in run.files],
            folder,
            SnapshotSettings.of(self._settings.model_copy(update=dict(run.settings))),
            self._sources.files_of(owner).count_tokens,
            categories=None if run.categories is None else Path(run.categories),
            progress=self._progress,
        )


def _refusal(run: SyncRun, counts: ChangeCounts, base: Snapshot) -> RunError | None:
    """The reason to refuse a sync, if any: a cut-off file looks like an inventory from which much was removed."""
    share = counts.removed / max(base.summary.rows, 1)
    if share <= run.max_removed_share:
        return None
    return RunError(
        f"the new inventory lacks {counts.removed:,} of {base.summary.rows:,} live keyphrases ({share:.0%}), more than "
        f"max_removed_share {run.max_removed_share:.0%} allows; see that its files are whole, or give "
        "--max-removed-share"
    )
