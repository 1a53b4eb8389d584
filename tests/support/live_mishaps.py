"""Further rules of the property test: what goes wrong around the product, whatever it is at.

None of them may change what is live: either all goes on as before, or the next command is refused in one line, changes
nothing, and goes on after what that line says was done.
"""

import json
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from keydistill.errors import CollectionNotFoundError, KeydistillError, RunError, VectorStoreError
from keydistill.ingest.aliases import Adoption, AliasChanges, Pruning, RunRetention
from keydistill.runs import open_store
from keydistill.settings import load_settings
from tests.support.live_machine import LiveMachine
from tests.support.stub_students import STUDENTS

_FUTURE = {"format": 99, "written_by": "9.1.0", "colour": "red"}


class MishapMachine(LiveMachine):
    """One alias, everything that may happen to it, and everything that may happen around it."""

    @precondition(lambda self: self.bench.redis is not None)
    @rule()
    def empty_redis(self) -> None:
        """Runs, history and leases are gone from Redis; this machine has copies."""
        assert self.bench.redis is not None
        before, chain = self.bench.runs(), self.bench.chain()
        self.bench.redis.flush()
        after = self.bench.runs()
        assert after.keys() == before.keys()
        assert {run.id: run.state for run in after.values()} == {run.id: run.state for run in before.values()}
        assert self.bench.chain() == chain

    @precondition(lambda self: not self.bench.engine.changes_in_place)
    @rule()
    def lose_the_catalogue(self) -> None:
        catalogue = self.bench.home / "catalog.json"
        if not catalogue.exists():
            return
        folders, target = self._folders(), self.bench.target()
        catalogue.unlink()
        if folders:
            for refused in (
                lambda: self.bench.reindexer(student=STUDENTS[0]).start([self.bench.world.files["base"]]),
                lambda: self.bench.pruning().prune(0),
                lambda: self.bench.changes().rollback(why="it fails"),
            ):
                error = self.bench.attempt(refused, None)
                assert isinstance(error, KeydistillError), error
                assert "keydistill collections adopt" in str(error), error
            assert self._folders() == folders
        Adoption(self.bench.settings, self.bench.engine, self.bench.store).adopt()
        assert self._folders() == folders
        assert self.bench.target() == target

    @precondition(lambda self: self.bench.engine.changes_in_place)
    @rule()
    def lose_the_home(self) -> None:
        """What somebody with a new home, and no Redis, does beside the server; then the old ones are found again."""
        home = self.bench.home.with_name(f"{self.bench.home.name}-new")
        options = {**self.bench.world.options(home), "alias": self.bench.settings.alias, "grace_seconds": 0}
        settings = load_settings(**{**options, "redis_url": None})
        store, there, target = open_store(settings), self.bench.collections(), self.bench.target()
        changes = AliasChanges(settings, self.bench.engine, store)
        error = self.bench.attempt(lambda: changes.rollback(why="which one?"), None)
        assert isinstance(error, (CollectionNotFoundError, VectorStoreError, RunError)), error
        Pruning(settings, self.bench.engine, store).prune(0)
        assert self.bench.collections() == there
        assert self.bench.target() == target

    @rule(inventory=st.sampled_from(["base", "grown"]))
    def a_run_of_the_future(self, inventory: str) -> None:
        """A newer keydistill was here: its run is left alone and is in nobody's way."""
        record = self.bench.home / "runs" / "29991231-235959-ffffff" / "run.json"
        text = json.dumps({**_FUTURE, "id": record.parent.name, "files": [inventory]})
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(text)
        known = self.bench.runs()
        assert record.parent.name not in known
        RunRetention(self.bench.settings, self.bench.engine, self.bench.store).prune()
        self.bench.pruning(grace_seconds=3_600).prune(2)
        assert record.read_text() == text
        assert self.bench.runs().keys() == known.keys()

    @precondition(lambda self: self.model.live is not None)
    @rule()
    def a_line_of_the_future(self) -> None:
        """A newer keydistill moved the alias: who cannot read how moves nothing."""
        chain, target = self.bench.chain(), self.bench.target()
        line = {**_FUTURE, "alias": self.bench.settings.alias, "action": "teleport"}
        with self.bench.extra_history(json.dumps(line)):
            error = self.bench.attempt(lambda: self.bench.changes().rollback(why="back"), None)
            assert isinstance(error, RunError), error
            assert "written by a newer keydistill (9.1.0" in str(error)
            error = self.bench.attempt(lambda: self.bench.pruning().prune(0), None)
            assert isinstance(error, RunError), error
        assert self.bench.chain() == chain
        assert self.bench.target() == target

    def _folders(self) -> set[Path]:
        return {path for path in (self.bench.home / "collections").glob("*") if not path.name.startswith(".")}
