"""Changing what is live: swap, roll back, prune. Each is a compare-and-set under a lease, and goes into the log."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from encoders import StudentFiles
from errors import (
    CollectionNotFoundError,
    CollectionStateError,
    RunBusyError,
    RunStateError,
    StudentError,
    StudentMismatchError,
)
from runs import Lease, ReindexRun, Run, RunStore
from runs.history import Action, AliasChange
from settings import Settings
from vectorstore import CollectionInfo, Engine

# A swap that finds another one under way waits for it: it takes a request or two.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a prune drops and what it keeps, each with the reason.

    Attributes:
        drop: Names of collections, oldest first.
        keep: Name of a collection to why it stays.
    """

    drop: tuple[str, ...]
    keep: dict[str, str]


class AliasChanges:
    """The one place that moves an alias or drops a collection."""

    def __init__(self, settings: Settings, engine: Engine, store: RunStore) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store

    def swap_as_planned(self, run: ReindexRun, build: Lease) -> None:
        """The last step of a run: the alias names its collection, if it still names what the run saw when it was made.

        It names it already, and only the line in the log may be missing, where a process was killed right after it.

        Raises:
            AliasChangedError: Somebody else swapped it; nothing was changed.
            LeaseLostError: The build's lease ran out; nothing was changed.
        """
        with self._alone(run.alias, run.id) as lease:

            def guard() -> None:
                lease.check()
                build.check()

            if self._engine.aliases().get(run.alias) != run.collection:
                self._engine.swap_alias(run.alias, run.collection, run.previous_target, guard)
            self._settle(run, lease, "swap", run.previous_target, None, run.started_by)

    def swap(self, run_id: str, why: str | None = None) -> ReindexRun:
        """Put the collection of a run live that was built with `--no-swap`.

        Raises:
            RunStateError: The run is not ready.
            AliasChangedError: Somebody swapped the alias at the same time.
        """
        run = self._reindex(self._store.load(run_id))
        if run.state != "ready":
            raise RunStateError(
                f"run {run.id} is {run.state}; only one that is ready can be swapped in"
                + (", a retired one by `keydistill collections rollback --to`" if run.state == "retired" else "")
            )
        return self._put_live(run, "swap", why)

    def rollback(self, to: str | None = None, why: str | None = None) -> ReindexRun:
        """Put an earlier collection of the alias live again.

        Args:
            to: Its name; None takes the one that was live before.
            why: For the log.

        Raises:
            CollectionNotFoundError: There is none to go back to.
            StudentMismatchError: The student that built it is not there any more.
            RunStateError: It was never live.
        """
        alias = self._settings.alias
        there = set(self._engine.collections())
        if to is None:
            to = next((name for name in self._left(alias) if name in there), None)
            if to is None:
                raise CollectionNotFoundError(
                    f"alias {alias!r} has no earlier collection to go back to; `keydistill collections list` shows all"
                )
        if to not in there:
            raise CollectionNotFoundError(f"collection {to!r} is not there, or was pruned; see `collections history`")
        run = self._run_of(to)
        if run is None or run.alias != alias:
            raise RunStateError(f"collection {to!r} was built by no run of alias {alias!r}")
        if run.state == "live":
            raise RunStateError(f"collection {to!r} is live already")
        if run.state != "retired":
            raise RunStateError(f"run {run.id}, which built {to!r}, is {run.state} and was never live")
        self._check_student(self._engine.info(to))
        return self._put_live(run, "rollback", why)

    def plan_prune(self, keep: int = 1) -> PrunePlan:
        """What `prune` would do.

        Args:
            keep: How many of the collections that were live before stay for a rollback.
        """
        alias = self._settings.alias
        named = {target: name for name, target in self._engine.aliases().items()}
        left = self._left(alias)
        grace = datetime.now(UTC) - timedelta(seconds=self._settings.grace_seconds)
        drop: list[str] = []
        kept: dict[str, str] = {}
        for name in self._engine.collections():
            run = self._run_of(name)
            if name in named:
                kept[name] = f"alias {named[name]} names it"
            elif run is None:
                kept[name] = "no run of ours built it"
            elif run.alias != alias:
                kept[name] = f"it belongs to alias {run.alias}"
            elif run.state not in ("retired", "cancelled", "live"):
                kept[name] = f"run {run.id} is {run.state}; cancel it to let go of it"
            elif name in list(left)[:keep]:
                kept[name] = "kept for a rollback"
            elif (since := max(left.get(name, ""), run.updated_at)) > grace.isoformat(timespec="seconds"):
                kept[name] = (
                    f"used until {since}; readers may hold it for grace_seconds ({self._settings.grace_seconds:g})"
                )
            else:
                drop.append(name)
        return PrunePlan(tuple(sorted(drop)), kept)

    def prune(self, keep: int = 1, why: str | None = None) -> PrunePlan:
        """Drop the collections of the alias that nothing needs, and their snapshots on this machine.

        Returns:
            What was dropped and kept.

        Raises:
            RunBusyError: A swap is under way.
        """
        alias = self._settings.alias
        with self._alone(alias, "prune") as lease:
            plan = self.plan_prune(keep)
            for name in plan.drop:
                lease.check()
                run = self._run_of(name)
                self._engine.drop(name)
                run_id = None if run is None else run.id
                self._store.note(AliasChange.made("prune", alias, name, None, why=why, run=run_id))
                if run is not None:
                    shutil.rmtree(self._store.folder(run.id) / "snapshot", ignore_errors=True)
        return plan

    def _put_live(self, run: ReindexRun, action: Action, why: str | None) -> ReindexRun:
        with self._alone(run.alias, run.id) as lease:
            before = self._engine.aliases().get(run.alias)
            if before != run.collection:
                self._engine.swap_alias(run.alias, run.collection, before, lease.check)
            self._settle(run, lease, action, before, why, None)
            return self._reindex(self._store.update(run.id, _live, lease))

    def _settle(
        self, run: ReindexRun, lease: Lease, action: Action, before: str | None, why: str | None, by: str | None
    ) -> None:
        """What follows from a swap: its line in the log, and the run that was live is so no more."""
        last = next((change for change in self._history(run.alias) if change.action != "prune"), None)
        if last is None or last.after != run.collection:
            self._store.note(AliasChange.made(action, run.alias, before, run.collection, why=why, run=run.id, by=by))
        for other in self._store.all():
            of_alias = isinstance(other, ReindexRun) and other.alias == run.alias
            if of_alias and other.id != run.id and other.state == "live":
                # The store may have lost it; its copy is as good.
                self._store.restore(other.id)
                self._store.update(other.id, _retired, lease)

    def _left(self, alias: str) -> dict[str, str]:
        """Collections that the alias named and no longer names, to when it last left them; the latest first."""
        left: dict[str, str] = {}
        for change in self._history(alias):
            if change.action != "prune" and change.before is not None:
                left.setdefault(change.before, change.at)
        left.pop(self._engine.aliases().get(alias, ""), None)
        return left

    def _history(self, alias: str) -> list[AliasChange]:
        """The latest first."""
        return [change for change in reversed(self._store.history()) if change.alias == alias]

    def _run_of(self, collection: str) -> ReindexRun | None:
        return next(
            (run for run in self._store.all() if isinstance(run, ReindexRun) and run.collection == collection), None
        )

    def _reindex(self, run: Run) -> ReindexRun:
        if not isinstance(run, ReindexRun):
            raise RunStateError(f"run {run.id} is a {run.kind} and has no collection")
        return run

    def _check_student(self, info: CollectionInfo) -> None:
        """A reader loads the student that built a collection: it must be there still."""
        expected, source = info.metadata.get("student_version"), str(info.metadata.get("student"))
        try:
            found = StudentFiles.find(source, dimension=info.dimension).version
        except StudentError as error:
            raise StudentMismatchError(f"collection {info.name} cannot be read any more: {error}") from None
        if found != expected:
            raise StudentMismatchError(
                f"collection {info.name} was built by student {expected}, {source} is {found} now; put the old one back"
            )
        if info.state != "ready":
            raise CollectionStateError(f"collection {info.name} is {info.state}")

    @contextmanager
    def _alone(self, alias: str, run_id: str) -> Iterator[Lease]:
        """Be the one that changes the alias; waits a while for another one to end."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with ExitStack() as held:
            while True:
                try:
                    lease = held.enter_context(self._store.lease(f"alias:{alias}", run_id))
                    break
                except RunBusyError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield lease


def _live(run: Run) -> Run:
    return run if run.state == "live" else run.moved("live")


def _retired(run: Run) -> Run:
    return run.moved("retired") if run.state == "live" else run
