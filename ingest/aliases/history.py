"""What an alias named before, and which run each collection belongs to."""

from functools import cached_property

from keydistill.errors import AliasHeldError
from keydistill.runs import Action, AliasChange, ReindexRun, RunStore
from keydistill.vectorstore import Engine

_KILLED = "whoever did it was killed before this line"


class AliasHistory:
    """The audit log of one alias, read together with the records of the runs.

    Make a new one for each question: it reads all records once, when they are first needed.
    """

    def __init__(self, engine: Engine, store: RunStore, alias: str) -> None:
        self._engine = engine
        self._store = store
        self._alias = alias

    def changes(self) -> list[AliasChange]:
        """Lines of the log, the latest first; one that a killed process could not write stands among them."""
        written = self.written()
        missing = self.missing(written)
        return written if missing is None else [missing, *written]

    def written(self) -> list[AliasChange]:
        """Lines that are in the log, the latest first."""
        return [change for change in reversed(self._store.history()) if change.alias == self._alias]

    def missing(self, written: list[AliasChange]) -> AliasChange | None:
        """The line that the log lacks, dated now, where it does not say how the alias came to name its target."""
        named = self._engine.aliases().get(self._alias)
        before = next((change.after for change in written if change.moves_alias), None)
        if named is None or named == before:
            return None
        run, former = self.owner_of(named), None if before is None else self.owner_of(before)
        action: Action = "swap"
        if run is not None and former is not None and run.id == former.id:
            action = "sync"
        elif any(change.after == named for change in written) or (run is not None and run.state == "retired"):
            action = "rollback"
        return AliasChange.made(
            action,
            self._alias,
            before,
            named,
            why=_KILLED,
            run=None if run is None else run.id,
            by=run.started_by if run is not None and action == "swap" else "unknown",
        )

    def last_live(self) -> dict[str, str]:
        """Collections that the alias no longer names, each with the time when it last left them; the latest first."""
        left_at: dict[str, str] = {}
        for change in self.changes():
            if change.moves_alias and change.before is not None:
                left_at.setdefault(change.before, change.at)
        left_at.pop(self._engine.aliases().get(self._alias, ""), None)
        return left_at

    def candidates(self) -> list[str]:
        """Names of the present and whole collections that can be rolled back to, the latest first.

        A collection that a sync replaced is none of them; the one that took its place is, also if it was never live
        itself. Those that were rolled back from stand at the end.
        """
        live = self._engine.aliases().get(self._alias)
        whole_names = set(self._engine.collections()) - set(self._engine.lost())
        live_run = None if live is None else self.owner_of(live)
        collections: dict[str, None] = {}
        for name in self.last_live():
            run = self.owner_of(name)
            if run is not None and (live_run is None or run.id != live_run.id):
                collections.setdefault(run.collection)
        candidates = [name for name in collections if name in whole_names]
        return sorted(candidates, key=self.is_rolled_back_from)

    def rolled_back_from(self) -> set[str]:
        """Ids of the runs whose collections were left for what was live earlier, and not put live again since."""
        order: dict[str, int] = {}
        bad_runs: set[str] = set()
        for change in reversed(self.changes()):
            if not change.moves_alias or change.action == "sync":
                continue
            left, live = (None if name is None else self.owner_of(name) for name in (change.before, change.after))
            if live is None:
                continue
            order.setdefault(live.id, len(order))
            # Who goes forward again, by force, says nothing of what he leaves.
            if change.action == "rollback" and left is not None and order[live.id] < order.get(left.id, len(order)):
                bad_runs.add(left.id)
            bad_runs.discard(live.id)
        return bad_runs

    def is_rolled_back_from(self, collection: str) -> bool:
        """Whether a collection is of a run in `rolled_back_from`."""
        run = self.owner_of(collection)
        return run is not None and run.id in self._bad_runs

    def reaches(self, run: ReindexRun) -> bool:
        """Whether the log says that what a run built was live."""
        return any(
            change.run == run.id or any(name and self.owner_of(name) == run for name in (change.before, change.after))
            for change in self.changes()
            if change.moves_alias
        )

    def hold(self) -> AliasChange | None:
        """The line that says since when, by whom and why the alias is held; None where it may be moved."""
        last = next((change for change in self.written() if change.action in ("hold", "release")), None)
        return last if last is not None and last.action == "hold" else None

    def check_may_move(self) -> None:
        """Raise if somebody holds the alias.

        Raises:
            AliasHeldError: Who does, since when and why.
        """
        hold = self.hold()
        if hold is not None:
            raise AliasHeldError(
                f"alias {self._alias!r} is held since {hold.at} by {hold.by} ({hold.why}); nothing was swapped; when "
                f"it may move again: `keydistill collections release {self._alias}`"
            )

    def owner_of(self, collection: str) -> ReindexRun | None:
        """The run that built a collection, or that built the original of a collection that is a sync's copy."""
        for run in self._reindexes:
            built = f"{run.alias}-{run.id}"
            if collection in (run.collection, built) or collection.startswith(f"{built}-"):
                return run
        return None

    @cached_property
    def _bad_runs(self) -> set[str]:
        return self.rolled_back_from()

    @cached_property
    def _reindexes(self) -> list[ReindexRun]:
        return [run for run in self._store.all() if isinstance(run, ReindexRun)]
