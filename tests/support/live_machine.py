"""The rules of the property test: what a person, a schedule and a power cut may do in any order, and what holds after.

Each rule does something with the product and says, from the model alone, what must come of it. Only of a process that
was killed the model asks how far it came, and then holds it to what it may have done.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keydistill.errors import (
    AliasChangedError,
    CollectionNotFoundError,
    GateRefusedError,
    KeydistillError,
    RunError,
    RunStateError,
)
from keydistill.runs import ReindexRun, SyncRun
from tests.support.kills import Kill
from tests.support.live_bench import LIMIT, TITLE, Bench, World, best_answers
from tests.support.live_model import (
    INVENTORIES,
    MAX_REMOVED_SHARE,
    Built,
    Model,
    is_worse,
    points,
    removed_share,
)
from tests.support.stub_students import STUDENTS, StubStudent

_inventories = st.sampled_from(sorted(INVENTORIES))
_students = st.sampled_from(STUDENTS)


def _kill(calls: int) -> st.SearchStrategy[Kill | None]:
    """Every other time at one of so many calls that change something; before or after it is done, by death or disk."""
    return st.none() | st.tuples(st.integers(1, calls), st.booleans(), st.booleans())


# About as many as each makes with these inventories.
_in_reindex, _in_sync, _in_short = _kill(22), _kill(14), _kill(6)
_places = st.integers(0, 1_000)


class LiveMachine(RuleBasedStateMachine):
    """One alias, and everything that may happen to it."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.world)
        self.model = Model()
        self.sync_files: dict[str, str] = {}
        self.answered: str | None = None
        # Since a kill nobody has moved the alias: records and log may lack the last step.
        self.unsettled = False

    @initialize(student=_students, inventory=_inventories, kill=_in_reindex)
    def first_build(self, student: str, inventory: str, kill: Kill | None) -> None:
        self.reindex(student, inventory, True, kill)

    @rule(student=_students, inventory=_inventories, swap=st.booleans(), kill=_in_reindex)
    def reindex(self, student: str, inventory: str, swap: bool, kill: Kill | None) -> None:
        known = set(self.bench.reindexes())
        reindexer = self.bench.reindexer(student=student)
        base, before = len(self.model.syncs), self.model.live
        found = self._do(lambda: reindexer.start([self.bench.world.files[inventory]], swap=swap), kill)
        for run in set(self.bench.reindexes()) - known:
            self.model.built[run] = Built(student, inventory, base)
            self._built(run, found, gated=True, seen=before)

    @rule(inventory=_inventories, kill=_in_sync)
    def sync(self, inventory: str, kill: Kill | None) -> None:
        known = set(self.bench.syncs())
        syncer = self.bench.syncer()
        held = self._held()
        found = self._do(lambda: syncer.start([self.bench.world.files[inventory]]), kill)
        if self.model.live is None:
            assert isinstance(found, CollectionNotFoundError) or (found is None and kill), found
            assert set(self.bench.syncs()) == known
        for run in set(self.bench.syncs()) - known:
            self.sync_files[run] = inventory
            self._synced(run, found, held)

    @precondition(lambda self: self.model.built)
    @rule(place=_places, force=st.booleans(), kill=_in_short)
    def swap(self, place: int, force: bool, kill: Kill | None) -> None:
        run = self._one(list(self.model.built), place)
        record = self.bench.reindexes()[run]
        # A full disk may have failed it there, too.
        refused = record.failed_in == "gating" and record.gate.get("verdict") == "refused"
        may = run not in (self.model.live, *self.model.left) and (record.state == "ready" or (force and refused))
        found = self._do(lambda: self.bench.changes().swap(run, "asked for" if force else None, force=force), kill)
        if may:
            self._moved(run, found)
        else:
            assert isinstance(found, RunStateError) or found is None or record.state == "ready", found
            self._stayed()

    @rule(kill=_in_short)
    def rollback(self, kill: Kill | None) -> None:
        to = next(iter(self.model.kept), None)
        found = self._do(lambda: self.bench.changes().rollback(why="worse"), kill)
        if to is None or to in self.model.bad:
            assert isinstance(found, CollectionNotFoundError) or (found is None and kill), found
            self._stayed()
        else:
            self._moved(to, found, rolled_back=True)

    @precondition(lambda self: self.model.built)
    @rule(place=_places, force=st.booleans(), kill=_in_short)
    def rollback_to(self, place: int, force: bool, kill: Kill | None) -> None:
        run = self._one(list(self.model.built), place)
        collection = self.bench.reindexes()[run].collection
        found = self._do(lambda: self.bench.changes().rollback(collection, force=force), kill)
        if run in self.model.kept and (force or run not in self.model.bad):
            self._moved(run, found, rolled_back=True)
        else:
            assert isinstance(found, (RunStateError, CollectionNotFoundError)) or (found is None and kill), found
            self._stayed()

    @rule(keep=st.integers(0, 2), kill=_in_short)
    def prune(self, keep: int, kill: Kill | None) -> None:
        droppable = self.model.kept[keep:]
        found = self._do(lambda: self.bench.pruning().prune(keep), kill)
        assert not isinstance(found, KeydistillError), found
        there, records = self.bench.collections(), self.bench.reindexes()
        for run in droppable:
            self.model.built[run].pruned = records[run].collection not in there
        if found is not None:
            assert all(self.model.built[run].pruned for run in droppable)
            self._nothing_is_left_over()
        self._stayed()

    @rule(keep=st.integers(0, 2))
    def prune_within_grace(self, keep: int) -> None:
        named = {name for change in self.bench.chain() for name in change} | {self.bench.target()}
        before = self.bench.collections()
        self.bench.pruning(grace_seconds=3_600).prune(keep)
        assert named & before == named & self.bench.collections()
        self._stayed()

    @precondition(lambda self: self._open_runs())
    @rule(place=_places, kill=_in_sync)
    def resume(self, place: int, kill: Kill | None) -> None:
        run = self._one(self._open_runs(), place)
        record = self.bench.runs()[run]
        if isinstance(record, SyncRun):
            held = self._held()
            found = self._do(lambda: self.bench.syncer().resume(run), kill)
            self._synced(run, found, held, accepted=record.journal > 0)
            return
        assert isinstance(record, ReindexRun)
        built = self.model.built[run]
        begun = record.failed_in or record.state
        seen = self.model.live if begun == "planned" else self._owner(record.previous_target)
        if begun == "planned":
            built.base = len(self.model.syncs)
        was_live, level = run in (self.model.live, *self.model.left), -1
        if begun == "ready" and not was_live:
            level = self.bench.engine.info(record.collection).metadata["journal"]
        found = self._do(lambda: self.bench.reindexer(student=built.student).resume(run), kill)
        if was_live:
            # It went live before it was killed, and the alias is not moved again for it.
            assert isinstance(found, (ReindexRun, RunStateError)) or (found is None and kill), found
            self._stayed()
        else:
            self._built(run, found, gated=level < len(self.model.syncs), seen=seen)

    @invariant()
    def what_is_live_is_what_the_model_says(self) -> None:
        assert self.bench.live_run() == self.model.live
        live = self.model.live
        if live is None:
            return
        info, built = self.bench.live_info(), self.model.built[live]
        assert info.state == "ready"
        assert info.metadata["run"] == live
        assert info.metadata["student_version"] == StubStudent(built.student).version
        content = self._content(built.student)
        if self.model.behind:
            return
        expected = points(self.model.content(live))
        assert content == expected
        assert info.points == len(expected)
        assert "applying" not in info.metadata
        assert info.metadata["journal"] == max(built.base, len(self.model.syncs))

    @invariant()
    def a_reader_gets_the_exact_answer(self) -> None:
        live = self.model.live
        if live is None:
            return
        reader, target = self.bench.reader, self.bench.target()
        # Before it has looked at the alias it answers as before, unless its collection is gone.
        assert reader.recommend([TITLE], LIMIT).collection in (target, self.answered)
        reader.refresh()
        answer = reader.recommend([TITLE], LIMIT)
        self.answered = target
        assert answer.collection == target
        if not self.model.behind:
            built = self.model.built[live]
            expected = best_answers(built.student, self.model.content(live))
            assert [each.keyphrase for each in answer.found[0]] == expected

    @invariant()
    def every_change_of_the_alias_is_in_the_log(self) -> None:
        chain = self.bench.chain()
        targets = [None, *(after for _, after in chain)]
        assert [before for before, _ in chain] == targets[:-1]
        assert all(before != after for before, after in chain)
        if not self.unsettled:
            assert targets[-1] == self.bench.target()

    @invariant()
    def records_agree(self) -> None:
        records, there = self.bench.reindexes(), self.bench.collections()
        assert self.bench.target() in (None, *there)
        for run, built in self.model.built.items():
            if built.was_live and not self.unsettled:
                assert records[run].state == ("live" if run == self.model.live else "retired")
            if built.was_live and not built.pruned:
                assert self.unsettled or records[run].collection in there
        numbers = sorted(run.journal for run in self.bench.syncs().values() if run.journal)
        assert numbers == list(range(1, len(self.model.syncs) + 1))

    def teardown(self) -> None:
        try:
            if self.model.live is not None and sys.exc_info()[0] is None:
                for run in self._open_runs():
                    self.resume(self._open_runs().index(run), None) if run in self._open_runs() else None
                    self.what_is_live_is_what_the_model_says()
                self.prune(0, None)
                self.records_agree()
        finally:
            self.bench.close()

    def _do(self, work: Callable[[], Any], kill: Kill | None) -> Any:
        """What came of it; None where it was killed."""
        found = self.bench.attempt(work, kill)
        if found is None:
            note(f"killed {self.bench.world.kills.where}")
            self.unsettled = True
        elif isinstance(found, KeydistillError):
            note(f"{type(found).__name__}: {found}")
        return found

    def _built(self, run: str, found: Any, *, gated: bool, seen: str | None) -> None:
        """Hold a reindex to what it may have come to.

        Args:
            run: Which.
            found: What its call came to.
            gated: Whether it was at the gate, this time.
            seen: What was live when it began.
        """
        record = self.bench.reindexes()[run]
        worse = gated and is_worse(self.model.content(run), self.model.live_content)
        if found is None:
            if self.bench.live_run() == run:
                assert record.swap
                assert seen == self.model.live
                self.model.put_live(run)
            self._look_how_far()
        elif isinstance(found, GateRefusedError):
            assert worse or self.model.behind
            assert record.failed_in == "gating"
            assert record.collection in self.bench.collections()
        elif not record.swap:
            assert not worse or self.model.behind
            assert not isinstance(found, KeydistillError) or isinstance(found, RunStateError), found
            assert record.state == "ready"
        elif seen != self.model.live:
            assert isinstance(found, AliasChangedError), found
            assert record.failed_in == "ready"
        else:
            assert not isinstance(found, KeydistillError), found
            assert not worse or self.model.behind
            self._moved(run, found)
            return
        self._stayed()

    def _synced(self, run: str, found: Any, held: str | None, accepted: bool = False) -> None:
        """Hold a sync to what it may have come to; `held` is the inventory that was live, None if only a part was."""
        record, inventory = self.bench.syncs()[run], self.sync_files[run]
        if not accepted and record.journal > 0:
            assert record.journal == len(self.model.syncs) + 1
            self.model.syncs.append(inventory)
        if found is None:
            self._look_how_far()
            self._stayed()
            return
        if not accepted and held is not None:
            same = points(held) == points(inventory) and not self.model.behind
            refused = not same and removed_share(held, inventory) > MAX_REMOVED_SHARE
            assert isinstance(found, RunError) == refused, found
            assert (record.journal > 0) == (not same and not refused)
        if isinstance(found, KeydistillError):
            assert record.state == "failed", found
            assert record.journal == 0, found
        else:
            assert record.state == "done"
            if record.journal:
                self.model.behind = False
                self.unsettled = False
        self._stayed()

    def _moved(self, run: str, found: Any, *, rolled_back: bool = False) -> None:
        """The alias is now, or if the process was killed may be, at another run."""
        if found is None:
            if self.bench.live_run() == run:
                self.model.put_live(run, rolled_back=rolled_back)
            self._look_how_far()
            self._stayed()
            return
        assert not isinstance(found, KeydistillError), found
        self.model.put_live(run, rolled_back=rolled_back)
        self.model.behind = self.unsettled = False
        self._stayed()

    def _stayed(self) -> None:
        assert self.bench.live_run() == self.model.live

    def _look_how_far(self) -> None:
        """After a kill: whether what is live holds what was accepted."""
        if self.model.live is not None:
            held = self.bench.live_info().metadata["journal"]
            self.model.behind = held < len(self.model.syncs)

    def _held(self) -> str | None:
        """The inventory that is live, also where an accepted sync has not come to it."""
        if self.model.live is None:
            return None
        run = self.bench.live_info().metadata["snapshot_run"]
        return self.sync_files[run] if run in self.sync_files else self.model.built[run].inventory

    def _content(self, student: str) -> dict[tuple[str, str | None], dict[str, Any]]:
        """What is live; every vector is the student's, every payload of a state that the inventory was in."""
        records = self.bench.records()
        texts = [record.payload["keyphrase"] for record in records]
        vectors = StubStudent(student).embed_keyphrases(texts)
        assert np.allclose(np.array([record.vector for record in records]), vectors, atol=1e-5)
        content = {(record.payload["keyphrase"], record.payload.get("site")): record.payload for record in records}
        assert len(content) == len(records)
        if self.model.behind:
            states = [points(name) for name in {self._held(), *self.model.syncs} if name is not None]
            for key, payload in content.items():
                assert any(state.get(key) == payload for state in states), key
            # What no sync has touched is there all the time.
            for key in set.intersection(*(set(state) for state in states)):
                assert key in content
        return content

    def _owner(self, collection: str | None) -> str | None:
        if collection is None:
            return None
        return next(run for run in self.model.built if f"{collection}-".startswith(f"{self._alias}-{run}-"))

    @property
    def _alias(self) -> str:
        return self.bench.settings.alias

    def _open_runs(self) -> list[str]:
        # As they came: ids of one second are in no order, and the same steps must come to the same runs.
        known = [*self.model.built, *self.sync_files]
        return sorted((run.id for run in self.bench.store.all() if not run.is_over), key=known.index)

    def _one(self, of: list[str], place: int) -> str:
        return of[place % len(of)]

    def _nothing_is_left_over(self) -> None:
        """After a prune without grace: collections, folders and snapshots are those that something needs."""
        records, there = self.bench.reindexes(), self.bench.collections()
        dropped = {run for run, built in self.model.built.items() if built.pruned}
        assert there == {record.collection for run, record in records.items() if run not in dropped} & there
        engine, home = self.bench.engine, self.bench.home
        if not engine.changes_in_place:
            folders = {path.name for path in (home / "collections").glob("*") if not path.name.startswith(".")}
            assert folders == there
        last = len(self.model.syncs)
        journaled = [run for run in self.bench.store.all() if isinstance(run, ReindexRun | SyncRun) and run.journal]
        needed = {run.id for run in journaled if run.journal == last}
        needed &= self.sync_files.keys()
        for name in there:
            metadata = engine.info(name).metadata
            needed |= {metadata["snapshot_run"], *metadata.get("applying", [])}
        for run in self.bench.store.all():
            snapshot = (self.bench.store.folder(run.id) / "snapshot").exists()
            assert snapshot or run.id not in needed
            assert not snapshot or run.id in needed or not run.is_over
        assert not any((home / "tmp").glob("*"))
