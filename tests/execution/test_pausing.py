"""A paused build or sync: who works on it stops, nobody takes its place, and it goes on once it is resumed."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.encoders import Student
from keydistill.errors import RunBusyError, RunError, RunStateError
from keydistill.execution import (
    Reindexer,
    ReindexOrder,
    Syncer,
    WorkerProcess,
    advance,
    embed_part,
    findings,
    order_reindex,
    pause_run,
    pausing,
    resume_by_workers,
    resume_run,
    waiting_reason,
    watch,
)
from keydistill.progress import NoProgress
from keydistill.runs import Run, SharedRunStore, open_shared_store, open_store, read_run, reindex_of
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.execution.at_hand import at_hand
from tests.runs.records import reindex_run, retrain_run, sync_run
from tests.support.inventories import write_inventory
from tests.support.redis_server import RedisServer

ROWS = 120
PARTS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("inventory") / "inventory.csv", ROWS)


@pytest.fixture
def settings(tmp_path: Path, tiny_folder: Path) -> Settings:
    return load_settings(home=tmp_path / "home", student=str(tiny_folder), part_rows=ROWS // PARTS, gate_sample=20)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with EmbeddedEngine(settings.home) as engine:
        yield engine


@pytest.fixture(autouse=True)
def one_student(tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)


class Shown(NoProgress):
    """Steps in the order in which they were shown."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.steps.append(step)


def at_first_sleep(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> list[float]:
    """Do something in the place of the first wait of a paused run; returns the waits."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            what()

    monkeypatch.setattr(pausing, "sleep", sleep)
    return waits


def no_message() -> Any:
    raise AssertionError("nothing is to be sent")


def test_a_build_in_one_process_waits_between_parts(
    settings: Settings, engine: Engine, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, shown = open_store(settings), Shown()
    work = Reindexer(settings, engine, shown)
    parts_done: list[int] = []
    steps_embed = work._steps.embed_parts

    def embed_parts(run: Any, numbers: Any, lease: Any, recorded: Any, before_part: Any) -> Any:
        def paused_before_second() -> None:
            parts_done.append(1)
            if len(parts_done) == 2:
                pause_run(settings, run.id)
            before_part()

        return steps_embed(run, numbers, lease, recorded, paused_before_second)

    def paused() -> None:
        run = store.load(at_hand(work).id)
        assert run.is_paused
        assert run.state == "building"
        assert store.holder(run.lease_name) == run.id
        assert findings(settings, store, []) == []
        with pytest.raises(RunBusyError):
            Reindexer(settings, engine).start([inventory])
        resume_run(settings, run.id, no_message)

    monkeypatch.setattr(work._steps, "embed_parts", embed_parts)
    waits = at_first_sleep(monkeypatch, paused)
    run = work.start([inventory])
    assert len(waits) == 1
    assert run.state == "live"
    assert not run.is_paused
    assert engine.count(run.collection) == ROWS
    at = next(at for at, step in enumerate(shown.steps) if step.startswith("paused since 2"))
    # The step that was interrupted is shown again.
    assert shown.steps[at - 1] == shown.steps[at + 1] == "embed and upsert"


def test_a_sync_in_one_process_waits_between_steps(
    settings: Settings, engine: Engine, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reindexer(settings, engine).start([inventory])
    less = tmp_path / "less.csv"
    less.write_text("".join(inventory.read_text().splitlines(keepends=True)[:-5]))
    store = open_store(settings)
    work = Syncer(settings, engine)
    prepare = work._steps._prepare

    def paused_then_prepared(run: Any) -> Any:
        pause_run(settings, run.id)
        return prepare(run)

    def paused() -> None:
        run = store.load(at_hand(work).id)
        # It was accepted, and nothing was changed yet.
        assert run.state == "applying"
        assert engine.count(settings.alias) == ROWS
        resume_run(settings, run.id, no_message)

    monkeypatch.setattr(work._steps, "_prepare", paused_then_prepared)
    waits = at_first_sleep(monkeypatch, paused)
    assert work.start([less]).state == "done"
    assert len(waits) == 1
    assert engine.count(settings.alias) == ROWS - 5


def test_a_paused_run_can_be_cancelled(
    settings: Settings, engine: Engine, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(settings)
    work = Reindexer(settings, engine)
    begin = work._steps._begin

    def paused_then_begun(run: Any, lease: Any) -> Any:
        pause_run(settings, run.id)
        return begin(run, lease)

    monkeypatch.setattr(work._steps, "_begin", paused_then_begun)
    at_first_sleep(monkeypatch, lambda: store.update(at_hand(work).id, lambda now: now.moved("cancelled")))
    with pytest.raises(RunStateError, match="is cancelled now, and no longer snapshot: work on it stops here"):
        work.start([inventory])
    run = store.load(at_hand(work).id)
    assert (run.state, run.is_paused, store.holder(run.lease_name)) == ("cancelled", False, None)


def test_where_its_process_died_it_keeps_its_place(settings: Settings, engine: Engine, inventory: Path) -> None:
    store = open_store(settings)
    paused = store.add(reindex_run())
    pause_run(settings, paused.id)
    assert store.holder(paused.lease_name) is None
    with pytest.raises(RunBusyError, match=f"run {paused.id} is paused since .* by .* and keeps its place"):
        Reindexer(settings, engine).start([inventory])
    interrupted = store.add(reindex_run())
    with pytest.raises(RunBusyError, match="keeps its place"):
        Reindexer(settings, engine).resume(interrupted.id)
    with pytest.raises(RunStateError, match=f"is paused since .*; `keydistill runs resume {paused.id}` lets it go on"):
        Reindexer(settings, engine).resume(paused.id)
    # Another alias, and a sync of the same one, have places of their own.
    other = settings.model_copy(update={"alias": "other"})
    assert Reindexer(other, engine).start([inventory]).state == "live"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (retrain_run(), "is a retrain, which cannot be paused"),
        (reindex_run().moved("cancelled"), "is cancelled: nobody works on it"),
        (reindex_run().failed("it broke"), "is failed: nobody works on it"),
    ],
    ids=["retrain", "over", "failed"],
)
def test_what_cannot_be_paused(settings: Settings, run: Run, said: str) -> None:
    store = open_store(settings)
    store.add(run)
    with pytest.raises(RunStateError, match=said):
        pause_run(settings, run.id)
    with pytest.raises(RunStateError, match="and not paused"):
        resume_run(settings, run.id, no_message)
    assert store.load(run.id) == run


def test_it_is_paused_once_and_a_dry_run_changes_nothing(settings: Settings) -> None:
    store = open_store(settings)
    run = store.add(sync_run())
    assert pause_run(settings, run.id, dry_run=True) == store.load(run.id) == run
    pause = pause_run(settings, run.id).paused
    assert pause is not None
    with pytest.raises(RunStateError, match=re.escape(f"is paused since {pause.at} by {pause.by} already")):
        pause_run(settings, run.id)
    assert resume_run(settings, run.id, no_message, dry_run=True).is_paused
    assert not resume_run(settings, run.id, no_message).is_paused


def test_who_takes_up_what_failed_while_it_was_paused_goes_on(settings: Settings) -> None:
    run = open_store(settings).add(reindex_run())
    paused = pause_run(settings, run.id)
    assert paused.moved("snapshot").is_paused
    assert not paused.failed("the part that was under way broke").reopened().is_paused


def test_a_record_of_before_has_no_pause() -> None:
    run = reindex_run()
    values = {name: value for name, value in run.as_dict().items() if name != "paused"}
    assert read_run(json.dumps(values)) == run


class Sent(list[tuple[Any, ...]]):
    """Messages to workers."""

    def __call__(self, task: str, *arguments: object, queue: str) -> None:
        self.append((task, *arguments, queue))


@pytest.fixture
def process(server: RedisServer, settings: Settings, engine: Engine) -> WorkerProcess:
    server.flush()
    shared = settings.model_copy(
        update={"redis_url": load_settings(redis_url=server.url).redis_url, "lease_seconds": 5}
    )
    process = WorkerProcess(shared)
    # Workers and one process alike need an engine, and there is one process here.
    process.__dict__["engine"] = engine
    return process


@pytest.fixture
def store(process: WorkerProcess) -> SharedRunStore:
    return open_shared_store(process.settings)


def ordered(process: WorkerProcess, store: SharedRunStore, inventory: Path) -> str:
    steps = process.embedding
    run = store.add(steps.new_run([inventory], executor="celery"))
    store.reserve(run.lease_name, run.id, 300)
    return run.id


def test_workers_leave_a_paused_build_and_go_on_after_the_resume(
    process: WorkerProcess, store: SharedRunStore, inventory: Path
) -> None:
    run_id = ordered(process, store, inventory)
    sent = Sent()
    assert "is building" in advance(process, run_id, "control", sent)
    assert [message[0] for message in sent] == ["keydistill.embed_part"] * PARTS
    assert "part 0" in embed_part(process, run_id, 0, sent)
    lease_name = pause_run(process.settings, run_id).lease_name
    # A worker that was restarted gets the messages again, and the watchdog sends none.
    restarted = WorkerProcess(process.settings)
    restarted.__dict__["engine"] = process.engine
    sent.clear()
    for worker in (process, restarted):
        assert f"run {run_id} is paused since" in embed_part(worker, run_id, 1, sent)
        assert f"run {run_id} is paused since" in advance(worker, run_id, "control", sent)
        assert watch(worker, sent) == []
    assert sent == []
    run = reindex_of(store.load(run_id))
    assert (run.state, run.parts_done, run.attempts) == ("building", (0,), {})
    assert (store.holder(lease_name), store.owner(lease_name)) == (run_id, None)
    assert waiting_reason(process.settings, run) is None
    assert [one for one in findings(process.settings, store, []) if one.run == run_id] == []
    # The resume sends the run on, and so does the watchdog where that message is lost.
    resume_run(process.settings, run_id, lambda: sent)
    assert sent == [("keydistill.advance", run_id, "control")]
    sent.clear()
    watch(process, sent)
    assert {message[:3] for message in sent} == {("keydistill.embed_part", run_id, number) for number in (1, 2)}
    sent.clear()
    for number in (1, 2):
        embed_part(process, run_id, number, sent)
    for queue in ("control", "embed", "control"):
        advance(process, run_id, queue, sent)
    assert store.load(run_id).state == "live"
    assert process.engine.count(run.collection) == ROWS


def test_a_worker_stops_between_two_steps(
    process: WorkerProcess, store: SharedRunStore, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ordered(process, store, inventory)
    steps = process.steps(reindex_of(store.load(run_id)))
    begin = steps._begin

    def paused_then_begun(run: Any, lease: Any) -> Any:
        pause_run(process.settings, run.id)
        return begin(run, lease)

    monkeypatch.setattr(steps, "_begin", paused_then_begun)
    monkeypatch.setattr(process, "steps", lambda run: steps)
    sent = Sent()
    assert f"run {run_id} is paused since" in advance(process, run_id, "control", sent)
    run = store.load(run_id)
    assert (run.state, sent) == ("snapshot", [])
    assert store.holder(run.lease_name) == run_id


def test_where_its_lease_ran_out_no_order_takes_its_place(
    process: WorkerProcess, store: SharedRunStore, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ordered(process, store, inventory)
    lease_name = pause_run(process.settings, run_id).lease_name
    store.give_up(lease_name, run_id)
    monkeypatch.setattr("keydistill.execution.ordering.check_executor", lambda _: None)
    monkeypatch.setattr("keydistill.execution.ordering._engine", lambda _: _Open(process.engine))
    sent = Sent()
    with pytest.raises(RunBusyError, match=f"run {run_id} is paused since .* and keeps its place"):
        order_reindex(process.settings, ReindexOrder(files=(inventory,)), sent)
    with pytest.raises(RunStateError, match="is paused since"):
        resume_by_workers(process.settings, run_id, sent)
    assert (sent, [run.id for run in store.all()]) == ([], [run_id])
    # The watchdog holds the place again.
    assert watch(process, sent) == []
    assert store.holder(lease_name) == run_id


class _Open:
    """An engine that somebody else closes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        pass


def test_what_redis_lost_is_put_back_by_the_resume(
    process: WorkerProcess, store: SharedRunStore, inventory: Path, server: RedisServer
) -> None:
    run_id = ordered(process, store, inventory)
    advance(process, run_id, "control", Sent())
    store.update(run_id, lambda now: pausing._paused(now).moved("verifying"))
    server.flush()
    sent = Sent()
    resume_run(process.settings, run_id, lambda: sent)
    assert not store.is_lost(run_id)
    assert sent == [("keydistill.advance", run_id, "embed")]
    with pytest.raises(RunError):
        resume_run(process.settings, run_id, lambda: sent)
