"""What stood behind an alias before, and which run each collection belongs to."""

from runs import ReindexRun, RunStore
from runs.history import AliasChange
from vectorstore import Engine


class AliasHistory:
    """The audit log of one alias, read together with the runs."""

    def __init__(self, engine: Engine, store: RunStore, alias: str) -> None:
        self._engine = engine
        self._store = store
        self._alias = alias

    def changes(self) -> list[AliasChange]:
        """Lines of the log, the latest first."""
        return [change for change in reversed(self._store.history()) if change.alias == self._alias]

    def left(self) -> dict[str, str]:
        """Collections that the alias named and no longer names, to when it last left them; the latest first."""
        found: dict[str, str] = {}
        for change in self.changes():
            if change.action != "prune" and change.before is not None:
                found.setdefault(change.before, change.at)
        found.pop(self._engine.aliases().get(self._alias, ""), None)
        return found

    def candidates(self) -> list[str]:
        """Of these, the ones to roll back to, the latest first: a collection that a sync replaced is none."""
        owners = {name: self.owner_of(name) for name in self.left()}
        return [name for name, run in owners.items() if run is not None and run.collection == name]

    def owner_of(self, collection: str) -> ReindexRun | None:
        """The run that built a collection, or the one that it was copied from for a sync."""
        for run in self._store.all():
            if not isinstance(run, ReindexRun):
                continue
            built = f"{run.alias}-{run.id}"
            if collection in (run.collection, built) or collection.startswith(f"{built}-"):
                return run
        return None
