"""What stood behind an alias before, and which run each collection belongs to."""

from functools import cached_property

from runs import ReindexRun, RunStore, now
from runs.history import AliasChange
from vectorstore import Engine


class AliasHistory:
    """The audit log of one alias, read together with the runs as they are when they are first asked for.

    Make one per question: it reads all records, once.
    """

    def __init__(self, engine: Engine, store: RunStore, alias: str) -> None:
        self._engine = engine
        self._store = store
        self._alias = alias

    def changes(self) -> list[AliasChange]:
        """Lines of the log, the latest first."""
        return [change for change in reversed(self._store.history()) if change.alias == self._alias]

    def logged(self) -> str | None:
        """What the alias names by the log: what it named before, where a process died right after it moved it."""
        return next((change.after for change in self.changes() if change.action != "prune"), None)

    def left(self) -> dict[str, str]:
        """Collections that the alias named and no longer names, to when it last left them; the latest first."""
        found: dict[str, str] = {}
        target, logged = self._engine.aliases().get(self._alias), self.logged()
        if logged is not None and logged != target:
            found[logged] = now()  # nobody has noted when
        for change in self.changes():
            if change.action != "prune" and change.before is not None:
                found.setdefault(change.before, change.at)
        if target is not None:
            found.pop(target, None)
        return found

    def candidates(self) -> list[str]:
        """The collections to roll back to, of those that are there; the latest first.

        A collection that a sync replaced is none; the one that took its place is, also if it was never live itself.
        """
        live, there = self._engine.aliases().get(self._alias), set(self._engine.collections())
        present = None if live is None else self.owner_of(live)
        found: dict[str, None] = {}
        for name in self.left():
            run = self.owner_of(name)
            if run is not None and (present is None or run.id != present.id):
                found.setdefault(run.collection)
        return [name for name in found if name in there]

    def owner_of(self, collection: str) -> ReindexRun | None:
        """The run that built a collection, or the one that it was copied from for a sync."""
        for run in self._reindexes:
            built = f"{run.alias}-{run.id}"
            if collection in (run.collection, built) or collection.startswith(f"{built}-"):
                return run
        return None

    @cached_property
    def _reindexes(self) -> list[ReindexRun]:
        return [run for run in self._store.all() if isinstance(run, ReindexRun)]
