"""Reindexes in one process whose records are in Redis: what happens when others work, cancel, or Redis forgets."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.encoders import Student
from keydistill.errors import LeaseLostError, RunBusyError, RunStateError, VectorStoreError, VerificationError
from keydistill.execution import Reindexer
from keydistill.ingest.steps import ReindexSteps
from keydistill.runs import open_store, reindex_of
from keydistill.runs.redis_store import RedisRunStore
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.execution.at_hand import at_hand
from tests.support.cluster import Cluster
from tests.support.inventories import write_inventory
from tests.support.redis_server import RedisServer

ROWS = 240
PART_ROWS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory.csv", ROWS)


@pytest.fixture
def settings(server: RedisServer, tmp_path: Path, tiny_folder: Path) -> Settings:
    server.flush()
    return load_settings(
        home=tmp_path / "home",
        student=str(tiny_folder),
        part_rows=PART_ROWS,
        reuse_vectors=False,
        upsert_batch=20,
        redis_url=server.url,
        lease_seconds=5,
        gate_sample=20,
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with EmbeddedEngine(settings.home) as engine:
        yield engine


@pytest.fixture(autouse=True)
def one_student(tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)


@pytest.fixture
def store(settings: Settings) -> RedisRunStore:
    store = open_store(settings)
    assert isinstance(store, RedisRunStore)
    return store


class Doing:
    """Progress that does something when a step begins, or at its n-th report."""

    def __init__(self, step: str, what: Any, after: int = 0) -> None:
        self.step, self.what, self.left = step, what, after
        self.present = ""

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.present = step
        self._maybe()

    def advance(self, count: int) -> None:
        self._maybe()

    def _maybe(self) -> None:
        if self.present == self.step:
            self.left -= 1
            if self.left == -1:
                self.what()


def lose_lease(store: RedisRunStore, alias: str = "keyphrases") -> None:
    """As when a process stood still for longer than its lease."""
    store.call(lambda redis: redis.delete(f"keydistill:lease:build:{alias}"))


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_reindex_is_carried_out_and_lets_go(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    run = Reindexer(settings, engine).start([inventory])
    assert (run.state, engine.count("keyphrases")) == ("live", ROWS)
    assert store.load(run.id) == run
    assert store.holder(run.lease_name) is None


@pytest.mark.parametrize("with_redis", [True, False], ids=["redis", "files"])
def test_a_cancelled_run_stops_at_the_next_part(
    settings: Settings, engine: Engine, inventory: Path, with_redis: bool
) -> None:
    if not with_redis:
        settings = settings.model_copy(update={"redis_url": None})
    store = open_store(settings)

    def cancel() -> None:
        store.update(at_hand(reindexer).id, lambda now: now.moved("cancelled"))

    reindexer = Reindexer(settings, engine, Doing("embed and upsert", cancel, after=2))
    with pytest.raises(RunStateError, match=r"^run \S+ is cancelled now, and no longer building: .* stops here$"):
        reindexer.start([inventory])
    ended = reindex_of(store.load(at_hand(reindexer).id))
    assert ended.state == "cancelled"
    assert len(ended.parts_done) < 3
    assert store.holder(ended.lease_name) is None
    assert engine.aliases() == {}


@pytest.mark.parametrize("before", ["redis", "files"])
def test_the_live_run_that_redis_does_not_know_is_retired(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore, server: RedisServer, before: str
) -> None:
    earlier = settings if before == "redis" else settings.model_copy(update={"redis_url": None})
    first = Reindexer(earlier, engine).start([inventory])
    server.flush()
    second = Reindexer(settings, engine).start([inventory])
    assert {run.id: run.state for run in store.all()} == {first.id: "retired", second.id: "live"}
    assert engine.aliases() == {"keyphrases": second.collection}


def test_a_run_that_redis_lost_is_taken_up(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore, server: RedisServer
) -> None:
    reindexer = Reindexer(settings, engine, Doing("optimise", interrupt))
    with pytest.raises(KeyboardInterrupt):
        reindexer.start([inventory])
    server.flush()
    assert store.is_lost(at_hand(reindexer).id)
    run = Reindexer(settings, engine).resume(at_hand(reindexer).id)
    assert run.state == "live"
    assert not store.is_lost(run.id)


def test_what_failed_after_the_lease_was_lost_is_not_the_runs_failure(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    def fail() -> None:
        lose_lease(store)
        raise VectorStoreError("a collection that somebody else finished")

    reindexer = Reindexer(settings, engine, Doing("optimise", fail))
    with pytest.raises(LeaseLostError, match="no longer holds the lease"):
        reindexer.start([inventory])
    assert store.load(at_hand(reindexer).id).state == "building"
    assert Reindexer(settings, engine).resume(at_hand(reindexer).id).state == "live"


def test_a_process_that_slept_before_the_swap_does_not_retire_what_went_live(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    reindexer = Reindexer(settings, engine, Doing("verify", interrupt))
    with pytest.raises(KeyboardInterrupt):
        reindexer.start([inventory])
    steps = ReindexSteps(settings, engine, store)
    with store.lease("build:keyphrases", at_hand(reindexer).id) as stale:
        ready = steps.advance(steps.advance(reindex_of(store.load(at_hand(reindexer).id)), stale), stale)
        assert ready.state == "ready"
        lose_lease(store)
        live = Reindexer(settings, engine).resume(ready.id)
        assert live.state == "live"
        with pytest.raises(LeaseLostError):
            steps.advance(ready, stale)
    assert store.load(ready.id).state == "live"
    # Nor the run after it.
    later = Reindexer(settings, engine).start([inventory])
    with pytest.raises(LeaseLostError):
        steps.advance(ready, stale)
    assert engine.aliases() == {"keyphrases": later.collection}
    assert [store.load(run.id).state for run in (ready, later)] == ["retired", "live"]


def test_a_run_that_failed_elsewhere_is_not_moved_on(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    def fail_it() -> None:
        store.update(at_hand(reindexer).id, lambda now: now.failed("a part of it"))

    reindexer = Reindexer(settings, engine, Doing("optimise", fail_it))
    with pytest.raises(RunStateError, match="is failed now, and no longer building"):
        reindexer.start([inventory])
    run = store.load(at_hand(reindexer).id)
    assert (run.state, run.error) == ("failed", "a part of it")


def test_a_run_that_was_ordered_before_another_swapped_follows_it(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    ordered = store.add(ReindexSteps(settings, engine, store).new_run([inventory]))
    between = Reindexer(settings, engine).start([inventory])
    run = Reindexer(settings, engine).resume(ordered.id)
    assert (run.state, run.previous_target) == ("live", between.collection)


def test_a_failure_is_recorded_and_lets_go(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    def fail() -> None:
        raise VerificationError("pretended")

    reindexer = Reindexer(settings, engine, Doing("verify", fail))
    with pytest.raises(VerificationError, match=r"failed while verifying: pretended"):
        reindexer.start([inventory])
    assert store.load(at_hand(reindexer).id).failed_in == "verifying"
    assert store.holder("build:keyphrases") is None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(
        folder, tiny_folder, part_rows=20, upsert_batch=20, executor="local", lease_seconds=1, reuse_vectors=False
    ) as running:
        yield running


def in_the_middle(cluster: Cluster, alias: str) -> Any:
    """A run of which two parts are done, and one waits for the engine until `no_faults`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for run in map(reindex_of, cluster.store.all()):
            if run.alias == alias and len(run.parts_done) >= 2:
                cluster.front.no_faults()
                cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=50)
                while not cluster.front.faults()[0]["done"]:
                    assert time.monotonic() < deadline, "it wrote all before it could be held"
                    time.sleep(0.02)
                return run
        time.sleep(0.02)
    raise AssertionError("no run began")


def test_a_command_that_is_stopped_for_longer_than_its_lease_changes_nothing_when_it_wakes(
    cluster: Cluster, inventory: Path
) -> None:
    cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=0.2)
    sleeper = cluster.command("--alias", "slept", "reindex", inventory)
    run = in_the_middle(cluster, "slept")
    refused = cluster.keydistill("--alias", "slept", "reindex", inventory)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: run {run.id} is building for alias 'slept'; wait for it")
    sleeper.send_signal(signal.SIGSTOP)
    cluster.front.no_faults()
    deadline = time.monotonic() + 20
    while cluster.store.holder(run.lease_name) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    resumed = cluster.keydistill("reindex", "--resume", run.id)
    assert resumed.returncode == 0, resumed.stderr
    record, aliases = cluster.store.load(run.id), cluster.engine.aliases()
    assert record.state == "live"
    sleeper.send_signal(signal.SIGCONT)
    _, said = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 1
    assert said.count("\n") == 1
    assert "no longer holds the lease on 'build:slept'" in said
    assert (cluster.store.load(run.id), cluster.engine.aliases()) == (record, aliases)
    assert cluster.engine.count("slept") == ROWS


def test_a_cancelled_command_says_so_in_one_line(cluster: Cluster, inventory: Path) -> None:
    cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=0.2)
    working = cluster.command("--alias", "stopped", "reindex", inventory)
    run = in_the_middle(cluster, "stopped")
    assert cluster.keydistill("runs", "cancel", run.id).returncode == 0
    cluster.front.no_faults()
    _, stderr = working.communicate(timeout=60)
    assert working.returncode == 1
    assert stderr == f"error: run {run.id} is cancelled now, and no longer building: work on it stops here\n"
    ended = reindex_of(cluster.store.load(run.id))
    assert (ended.state, bool(ended.missing_parts)) == ("cancelled", True)
    assert cluster.store.holder(run.lease_name) is None


def test_two_commands_at_once(cluster: Cluster, inventory: Path) -> None:
    both = [cluster.command("--alias", "both", "reindex", inventory) for _ in range(2)]
    stderrs = [process.communicate(timeout=90)[1] for process in both]
    codes = sorted(process.wait() for process in both)
    runs = [run for run in map(reindex_of, cluster.store.all()) if run.alias == "both"]
    if codes == [0, 0]:  # one was over before the other began
        assert sorted(run.state for run in runs) == ["live", "retired"]
    else:
        assert codes == [0, 1]
        assert f"run {runs[0].id} is building for alias 'both'" in "".join(stderrs)
        assert [run.state for run in runs] == ["live"]


def test_the_store_refuses_a_second_builder(
    settings: Settings, engine: Engine, inventory: Path, store: RedisRunStore
) -> None:
    with (
        store.lease("build:keyphrases", "20261129-000000-0a1b2c"),
        pytest.raises(RunBusyError, match="run 20261129-000000-0a1b2c is building for alias 'keyphrases'"),
    ):
        Reindexer(settings, engine).start([inventory])
    assert store.all() == []
