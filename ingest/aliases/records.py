"""What follows from a change of an alias: its line in the log, and the states of the runs.

The alias moves in one step, what follows takes several. A process that dies in between leaves them to the next change
of the alias: until then a collection would be live that no line names, of a run that is only ready.
"""

from keydistill.ingest.aliases.history import AliasHistory
from keydistill.runs import Action, AliasChange, Lease, ReindexRun, Run, RunStore, reindex_of
from keydistill.vectorstore import Engine


class AliasRecords:
    """Keeps log and runs in step with the aliases. The caller of every method holds the alias's lease."""

    def __init__(self, engine: Engine, store: RunStore) -> None:
        self._engine = engine
        self._store = store

    def repair(self, alias: str, lease: Lease) -> None:
        """Do what a process left undone that died, or was refused by a server, right after it moved the alias."""
        self._restore(alias)
        target = self._engine.aliases().get(alias)
        history = AliasHistory(self._engine, self._store, alias)
        run = None if target is None else history.owner_of(target)
        if target is None or run is None or run.alias != alias:
            return  # nothing is live, or a collection that others built is
        missing = history.missing(history.written())
        if missing is not None:
            self._store.note(missing)
        if run.collection != target:
            self._store.update(run.id, lambda now: now.changed(collection=target), lease)
        if run.state in ("ready", "retired") or run.failed_in == "ready":
            self._store.update(run.id, _live, lease)
        self._retire_others(run, lease)

    def record_swap(
        self, run: ReindexRun, lease: Lease, action: Action, before: str | None, why: str | None, by: str | None = None
    ) -> None:
        """Log the swap to a run's collection that was just made, and retire the runs that were live until then."""
        self._store.note(AliasChange.made(action, run.alias, before, run.collection, why=why, run=run.id, by=by))
        self._retire_others(run, lease)

    def put_live(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        """Record that the run whose collection the alias names is live, and return it."""
        return reindex_of(self._store.update(run.id, _live, lease))

    def _restore(self, alias: str) -> None:
        """Put back the records that the store has lost, before the alias moves: what follows a swap changes them."""
        for run in self._store.all():
            if isinstance(run, ReindexRun) and run.alias == alias:
                self._store.restore(run.id)

    def _retire_others(self, run: ReindexRun, lease: Lease) -> None:
        for other in self._store.all():
            of_alias = isinstance(other, ReindexRun) and other.alias == run.alias
            if of_alias and other.id != run.id and other.state == "live":
                self._store.update(other.id, _retired, lease)


def went_live(run: ReindexRun) -> ReindexRun:
    """The run after its own swap: live, unless another process recorded that between the swap and this record."""
    return run if run.state in ("live", "retired") else run.moved("live")


def _live(run: Run) -> Run:
    if run.state == "failed" and run.failed_in == "ready":
        # The alias moved, and the answer to the swap was lost.
        run = run.moved("ready", error=None, failed_in=None)
    return run if run.state == "live" else run.moved("live")


def _retired(run: Run) -> Run:
    return run.moved("retired") if run.state == "live" else run
