"""What stood behind an alias before, and which run each collection belongs to."""

from functools import cached_property

from runs import ReindexRun, RunStore
from runs.history import Action, AliasChange
from vectorstore import Engine

_KILLED = "whoever did it was killed before this line"


class AliasHistory:
    """The audit log of one alias, read together with the runs as they are when they are first asked for.

    Make one per question: it reads all records, once.
    """

    def __init__(self, engine: Engine, store: RunStore, alias: str) -> None:
        self._engine = engine
        self._store = store
        self._alias = alias

    def changes(self) -> list[AliasChange]:
        """Lines of the log, the latest first; one that a killed process could not write stands among them."""
        found = self.written()
        missing = self.missing(self._engine.aliases().get(self._alias), found)
        return found if missing is None else [missing, *found]

    def written(self) -> list[AliasChange]:
        """Lines that are in the log, the latest first."""
        return [change for change in reversed(self._store.history()) if change.alias == self._alias]

    def missing(self, named: str | None, written: list[AliasChange]) -> AliasChange | None:
        """The line, as of now, that the log lacks if the alias came to name `named` and it does not say so, or None."""
        last = next((change for change in written if change.action != "prune"), None)
        if last is None or named is None or last.after == named:
            return None
        before, after = (None if name is None else self.owner_of(name) for name in (last.after, named))
        action: Action = "swap"
        if after is not None and before is not None and before.id == after.id:
            action = "sync"
        elif any(change.after == named for change in written) or (after is not None and after.state == "retired"):
            action = "rollback"
        return AliasChange.made(
            action, self._alias, last.after, named, why=_KILLED, run=None if after is None else after.id
        )

    def left(self) -> dict[str, str]:
        """Collections that the alias named and no longer names, to when it last left them; the latest first."""
        found: dict[str, str] = {}
        for change in self.changes():
            if change.action != "prune" and change.before is not None:
                found.setdefault(change.before, change.at)
        found.pop(self._engine.aliases().get(self._alias, ""), None)
        return found

    def candidates(self) -> list[str]:
        """The collections to roll back to, the latest first.

        A collection that a sync replaced is none; the one that took its place is, also if it was never live itself.
        """
        live = self._engine.aliases().get(self._alias)
        present = None if live is None else self.owner_of(live)
        found: dict[str, None] = {}
        for name in self.left():
            run = self.owner_of(name)
            if run is not None and (present is None or run.id != present.id):
                found.setdefault(run.collection)
        return list(found)

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
