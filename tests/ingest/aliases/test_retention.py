"""Runs of long ago are forgotten, in every place, unless something needs them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keydistill.errors import RunNotFoundError
from keydistill.execution import forget_old_runs
from keydistill.execution.process import WorkerProcess
from keydistill.ingest.aliases import AliasHistory, RunRetention
from keydistill.runs import AliasChange, ReindexRun, Run, RunStore, State, open_shared_store, open_store
from keydistill.settings import Settings, load_settings
from keydistill.storage import shared_storage
from keydistill.vectorstore import CollectionSpec
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.runs.records import reindex_run, retrain_run, sync_run
from tests.support.redis_server import RedisServer

_OLD, _NEW = "2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"
Add = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["file", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, server: RedisServer) -> Settings:
    here = {"home": tmp_path / "home", "shared": str(tmp_path / "shared")}
    if request.param == "file":
        return load_settings(**here)
    server.flush()
    return load_settings(**here, redis_url=server.url)


@pytest.fixture
def store(settings: Settings) -> RunStore:
    return open_store(settings)


@pytest.fixture
def engine(settings: Settings) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(settings.home) as engine:
        yield engine


@pytest.fixture
def add(store: RunStore) -> Add:
    """Adds a run that was changed long ago, with an id that is greater than those before it."""
    numbers = iter(range(100))

    def added(run: Run, state: State, updated_at: str = _OLD, **changes: Any) -> Run:
        number = f"20200101-0000{next(numbers):02}-aaaa"
        if isinstance(run, ReindexRun):
            changes = {"collection": f"{run.alias}-{number}", **changes}
        return store.add(replace(run, id=number, state=state, updated_at=updated_at, **changes))

    return added


def ids(store: RunStore) -> set[str]:
    return {run.id for run in store.all()}


def create(engine: EmbeddedEngine, name: str, **metadata: Any) -> None:
    engine.create(name, CollectionSpec(4), metadata)


def test_the_last_of_each_kind_and_alias_and_what_is_unfinished_stays(
    add: Add, store: RunStore, engine: EmbeddedEngine, settings: Settings
) -> None:
    forgotten, kept = set(), set()
    for new in (reindex_run, sync_run, lambda: reindex_run("other"), retrain_run):
        done = "retired" if isinstance(new(), ReindexRun) else "done"
        forgotten |= {add(new(), state).id for state in (done, "failed", "cancelled")}
        kept |= {add(new(), state).id for state in (done, "failed")}
        kept |= {add(new(), "planned").id, add(new(), done, _NEW).id}
        # The young one is the last that succeeded.
        forgotten.add(max(kept - {run.id for run in store.all() if run.state != done or run.updated_at == _NEW}))
        kept -= forgotten
    retention = RunRetention(settings, engine, store)
    assert {run.id for run in retention.plan().forget} == forgotten
    assert ids(store) == forgotten | kept
    assert not RunRetention(settings.model_copy(update={"run_retention_days": 0}), engine, store).prune().forget
    plan = retention.prune()
    assert {run.id for run in plan.forget} == forgotten
    assert ids(store) == kept
    assert set(plan.keep) == {run.id for run in store.all() if run.updated_at == _OLD}


def test_a_run_is_forgotten_in_every_place(
    add: Add, store: RunStore, engine: EmbeddedEngine, settings: Settings
) -> None:
    run, last = add(reindex_run(), "cancelled"), add(reindex_run(), "retired")
    shared = shared_storage(settings)
    assert shared is not None
    for each in (run, last):
        snapshot = store.folder(each.id) / "snapshot"
        snapshot.mkdir(parents=True)
        (snapshot / "part").write_text("rows")
        shared.put_folder(snapshot, f"snapshots/{each.id}")
    RunRetention(settings, engine, store).prune()
    with pytest.raises(RunNotFoundError):
        store.load(run.id)
    assert store.load(last.id) == last
    assert [store.folder(each.id).exists() for each in (run, last)] == [False, True]
    assert [shared.has(f"snapshots/{each.id}") for each in (run, last)] == [False, True]
    assert not (settings.home.parent / "shared" / "snapshots" / run.id).exists()
    # Nothing is left to stand in for the record.
    assert ids(open_store(settings)) == {last.id}


def test_what_a_collection_or_its_history_needs_stays(
    add: Add, store: RunStore, engine: EmbeddedEngine, settings: Settings
) -> None:
    gone, before, bad, live = (add(reindex_run(), "retired") for _ in range(4))
    other = add(reindex_run("other"), "retired")
    add(reindex_run("other"), "retired")
    held, applying, accepted, unneeded, _ = (add(sync_run(), "done", journal=number) for number in range(1, 6))
    failed_before = add(reindex_run(), "failed")
    add(reindex_run(), "failed")
    last_live = add(reindex_run(), "retired")
    for run, metadata in (
        (bad, {"snapshot_run": held.id, "applying": [applying.id]}),
        (other, {"snapshot_run": other.id}),
        (failed_before, {}),
    ):
        create(engine, run.collection, run=run.id, **metadata)
    # What a sync made of it is of the same run.
    create(engine, f"{live.collection}-3", run=live.id, snapshot_run=accepted.id)
    moves: list[tuple[Any, Any, Any]] = [
        (None, gone, "swap"),
        (gone, last_live, "swap"),
        (None, before, "swap"),
        (before, bad, "swap"),
        (bad, before, "rollback"),
    ]
    for former, after, action in moves:
        change = AliasChange.made(action, "keyphrases", former and former.collection, after.collection, run=after.id)
        store.note(change)
    history = AliasHistory(engine, store, "keyphrases")
    assert history.rolled_back_from() == {bad.id}
    plan = RunRetention(settings, engine, store).prune()
    assert {run.id for run in plan.forget} == {gone.id, unneeded.id}
    assert AliasHistory(engine, store, "keyphrases").rolled_back_from() == {bad.id}
    assert f"collection {other.collection} needs it" == plan.keep[other.id]
    assert plan.keep[before.id] == "the history of alias keyphrases needs it"


def test_a_record_of_the_future_is_not_forgotten_and_stops_nothing(
    add: Add, engine: EmbeddedEngine, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path / "other")
    store = open_store(settings)
    path = settings.home / "runs" / "20200101-000000-ffff" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"format": 2, "written_by": "9.1"}))
    cancelled = store.add(replace(reindex_run(), state="cancelled", updated_at=_OLD))
    assert RunRetention(settings, engine, store).prune().forget == (cancelled,)
    assert path.exists()


def test_one_that_is_resumed_meanwhile_stays(
    add: Add, store: RunStore, engine: EmbeddedEngine, settings: Settings
) -> None:
    run = add(reindex_run(), "failed", failed_in="planned")
    add(reindex_run(), "failed")
    retention = RunRetention(settings, engine, store)
    plan = retention.plan()
    with store.lease(run.lease_name, run.id):
        assert retention.prune().forget == ()
    store.update(run.id, lambda now: now.reopened())
    retention.plan = lambda: plan  # type: ignore[method-assign]
    assert retention.prune().forget == ()
    assert store.load(run.id).state == "planned"


def test_the_watchdog_does_it_once_a_day(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.flush()
    settings = load_settings(home=tmp_path / "home", redis_url=server.url)
    store = open_shared_store(settings)
    process = WorkerProcess(settings)
    with EmbeddedEngine(settings.home) as engine:
        monkeypatch.setattr(WorkerProcess, "engine", engine)
        for left in (0, 1):
            store.add(replace(reindex_run(), state="cancelled", updated_at=_OLD))
            forget_old_runs(process)
            assert len(store.all()) == left
        store.call(lambda redis: redis.delete("keydistill:done:retention"))  # type: ignore[attr-defined]
        forget_old_runs(process)
    assert store.all() == []
