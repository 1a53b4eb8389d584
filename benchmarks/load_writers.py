"""Writers of a load test: the process that builds and swaps, which is killed, and the one that syncs."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.load_log import Log
from benchmarks.load_readers import parent_lives
from benchmarks.load_world import Inventories
from keydistill.errors import KeydistillError, RunBusyError
from keydistill.execution import Reindexer, Syncer
from keydistill.ingest.aliases import AliasChanges, AliasHistory, Pruning
from keydistill.runs import ReindexRun, RunStore, SyncRun, open_store
from keydistill.settings import load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.factory import open_engine


class Noting:
    """An engine that notes when it moves an alias; all else is the engine's."""

    def __init__(self, engine: Engine, log: Log, by: str) -> None:
        self._engine = engine
        self._log = log
        self._by = by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def patient(self, seconds: float, waiting: Callable[[str], None]) -> "Noting":
        """See `Engine.patient`."""
        return Noting(self._engine.patient(seconds, waiting), self._log, self._by)

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """See `Engine.swap_alias`."""
        # Before, too: who is killed in between cannot say that it was done.
        self._log.note("moving", by=self._by, before=expected, after=target)
        self._engine.swap_alias(alias, target, expected, guard)
        self._log.note("moved", by=self._by, before=expected, after=target)


def build(folder: Path, options: dict[str, Any], students: Mapping[str, str], inventory: Path) -> None:
    """The building process: one reindex after the other, each with the student that is not live, until told to stop.

    After each one it is rolled back to what was live before, and then to the new one again. What a killed process left
    is resumed first. After all that collections that nothing needs are dropped, as a schedule would do.

    Args:
        folder: Of the log.
        options: Settings.
        students: Version to folder.
        inventory: The file that the sync replaces from time to time.
    """
    log = Log(folder)
    settings = load_settings(**options)
    store = open_store(settings)
    plain = open_engine(settings)
    engine: Any = Noting(plain, log, "build")
    try:
        while not log.is_over and parent_lives():
            left = _left(store, ReindexRun)
            live = engine.aliases().get(settings.alias)
            present = None if live is None else engine.info(live).metadata["student_version"]
            version = next(version for version in students if version != present)
            reindexer = Reindexer(settings.model_copy(update={"student": students[version]}), engine)
            try:
                if left is not None:
                    log.note("resuming", run=left.id, state=left.state)
                run = reindexer.start([inventory]) if left is None else reindexer.resume(left.id)
                log.note("built", run=run.id, seconds=sum(run.timings.values()))
                for _ in range(0 if live is None else 2):
                    # Long enough for every reader to follow.
                    time.sleep(2 * settings.alias_poll_seconds)
                    # Back, and forward again.
                    former = AliasHistory(engine, store, settings.alias).candidates()[0]
                    AliasChanges(settings, engine, store).rollback(former, "load test", force=True)
                    log.note("rolled back")
                Pruning(settings, engine, store).prune(keep=1)
            except KeydistillError as error:
                log.note("build failed", text=f"{type(error).__name__}: {error}")
                time.sleep(0.5)
    finally:
        plain.close()


def sync(folder: Path, options: dict[str, Any], inventories: Inventories, inventory: Path, pause: float) -> None:
    """The syncing process: the next version of the inventory, as soon as the one before is in, until told to stop."""
    log = Log(folder)
    settings = load_settings(**options)
    store = open_store(settings)
    plain = open_engine(settings)
    engine: Any = Noting(plain, log, "sync")
    version = 0
    try:
        while not log.is_over and parent_lives():
            version += 1
            log.note("syncing", version=version)
            inventories.write(version, inventory)
            while not _synced(Syncer(settings, engine), _left(store, SyncRun), inventory, log):
                if log.is_over:
                    return
                time.sleep(0.5)
            log.note("synced", version=version)
            time.sleep(pause)
    finally:
        plain.close()


def _synced(syncer: Syncer, left: Any, inventory: Path, log: Log) -> bool:
    try:
        if left is not None:
            syncer.resume(left.id)
        syncer.start([inventory])
    except RunBusyError as error:
        # Somebody changed the alias for longer than a sync waits: it says so, and is ordered again.
        log.note("sync waited", text=str(error))
        return False
    except KeydistillError as error:
        log.note("sync failed", text=f"{type(error).__name__}: {error}")
        return False
    return True


def _left(store: RunStore, kind: type[ReindexRun] | type[SyncRun]) -> ReindexRun | SyncRun | None:
    """The last run of a kind, if it was not carried to its end."""
    last = next((run for run in store.all() if isinstance(run, kind)), None)
    return last if last is not None and not last.is_over else None
