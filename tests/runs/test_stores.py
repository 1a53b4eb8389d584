"""What both stores of runs promise."""

import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from keydistill.errors import RunBusyError, RunError, RunNotFoundError, RunStateError, SettingsError
from keydistill.runs import RunStore, new_run_id, open_shared_store, open_store, reindex_of
from keydistill.runs.record import Run
from keydistill.settings import Settings, load_settings
from tests.runs.records import reindex_run, retrain_run
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["file", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, server: RedisServer) -> Settings:
    if request.param == "file":
        return load_settings(home=tmp_path)
    server.flush()
    return load_settings(home=tmp_path, redis_url=server.url, lease_seconds=5)


@pytest.fixture
def store(settings: Settings) -> RunStore:
    return open_store(settings)


def test_what_is_added_is_there(store: RunStore) -> None:
    run, other = reindex_run(), retrain_run()
    store.add(run)
    store.add(other)
    assert store.load(run.id) == run
    assert store.load(other.id) == other
    with pytest.raises(RunStateError, match="there is a run"):
        store.add(run)


def test_a_run_at_rest_can_be_forgotten(store: RunStore) -> None:
    run = store.add(reindex_run())
    (store.folder(run.id) / "snapshot").mkdir(parents=True)
    with pytest.raises(RunStateError, match="is planned; cancel it"):
        store.forget(run.id)
    store.update(run.id, lambda now: now.moved("cancelled"))
    store.forget(run.id)
    assert store.all() == []
    assert not store.folder(run.id).exists()
    for again in (store.load, store.forget):
        with pytest.raises(RunNotFoundError, match="there is none"):
            again(run.id)


def test_newest_first(store: RunStore) -> None:
    runs = [replace(reindex_run(), id=f"2026112{day}-000000-000000") for day in (3, 1, 2)]
    for run in runs:
        store.add(run)
    assert [run.id[:8] for run in store.all()] == ["20261123", "20261122", "20261121"]


def test_the_beginning_of_an_id_will_do_if_it_fits_one(store: RunStore) -> None:
    for name in ("20261123-a", "20261123-ab", "20261124-c"):
        store.add(replace(reindex_run(), id=name))
    assert store.load("20261124").id == "20261124-c"
    assert store.load("20261123-a").id == "20261123-a"
    for wrong, said in (("20261123", "2 runs begin with it"), ("x", "there is none"), ("", "begin with it")):
        with pytest.raises(RunNotFoundError, match=said):
            store.load(wrong)


def test_an_update_changes_the_record(store: RunStore) -> None:
    run = store.add(reindex_run())
    changed = store.update(run.id, lambda now: now.moved("snapshot"))
    assert changed.state == store.load(run.id).state == "snapshot"
    with pytest.raises(RunNotFoundError):
        store.update("20200101-none", lambda now: now)


def test_a_change_that_raises_changes_nothing(store: RunStore) -> None:
    run = store.add(reindex_run())
    with pytest.raises(RunStateError):
        store.update(run.id, lambda now: now.moved("live"))
    assert store.load(run.id) == run


def add_parts(settings: Settings, run_id: str, first: int) -> None:
    store = open_store(settings)
    for number in range(first, first + 10):
        store.update(run_id, partial(with_part, number=number))


def with_part(run: Run, number: int) -> Run:
    return reindex_of(run).with_part(number)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_no_update_is_lost(store: RunStore, settings: Settings, kind: str) -> None:
    run = store.add(reindex_run())
    make: Callable[..., threading.Thread | BaseProcess] = threading.Thread
    if kind == "processes":
        make = multiprocessing.get_context("spawn").Process
    workers = [make(target=add_parts, args=(settings, run.id, first)) for first in (0, 10, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert reindex_of(store.load(run.id)).parts_done == tuple(range(30))


def test_a_command_that_is_no_run_is_waited_for(store: RunStore, settings: Settings) -> None:
    with (
        store.lease("alias:keyphrases", "prune"),
        pytest.raises(RunBusyError, match="prune holds 'alias:keyphrases' at this moment; try again when it is done"),
        open_store(settings).lease("alias:keyphrases", new_run_id()),
    ):
        pass


def test_a_lease_is_held_by_one(store: RunStore, settings: Settings) -> None:
    another, one = open_store(settings), new_run_id()
    with store.lease("build:keyphrases", one) as lease:
        lease.check()
        assert another.holder("build:keyphrases") == one
        with (
            pytest.raises(
                RunBusyError, match=f"run {one} is building for alias 'keyphrases'; wait for it .`keydistill"
            ),
            another.lease("build:keyphrases", "two"),
        ):
            pass
        with (
            pytest.raises(RunBusyError, match=f"another process is working on run {one}"),
            another.lease("build:keyphrases", one),
        ):
            pass
        with another.lease("build:another", "two"):
            assert another.holder("build:another") == "two"
    assert store.holder("build:keyphrases") is None


def test_tokens_grow(store: RunStore, settings: Settings) -> None:
    tokens = []
    for run_id in ("one", "two", "two"):
        with open_store(settings).lease("retrain", run_id) as lease:
            tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


def test_a_lease_is_given_back_when_the_work_fails(store: RunStore) -> None:
    with pytest.raises(ZeroDivisionError), store.lease("retrain", "one"):
        raise ZeroDivisionError
    with store.lease("retrain", "two"):
        pass


def test_an_update_under_a_lease(store: RunStore) -> None:
    run = store.add(reindex_run())
    with store.lease(run.lease_name, run.id) as lease:
        assert store.update(run.id, lambda now: now.moved("snapshot"), lease).state == "snapshot"


def hold(settings: Settings, holding: threading.Event) -> None:
    with open_store(settings).lease("retrain", "one"):
        holding.set()
        time.sleep(60)


def test_a_lease_ends_with_its_process(store: RunStore, settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    holding = context.Event()
    process = context.Process(target=hold, args=(settings.model_copy(update={"lease_seconds": 1}), holding))
    process.start()
    assert holding.wait(30)
    assert store.holder("retrain") == "one"
    process.kill()
    process.join()
    deadline = time.monotonic() + 10
    while store.holder("retrain") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with store.lease("retrain", "two"):
        pass


def test_a_folder_per_run(store: RunStore, tmp_path: Path) -> None:
    assert store.folder("x") == Path(tmp_path) / "runs" / "x"


def test_records_of_other_kinds_are_as_they_were(store: RunStore) -> None:
    run: Run = store.add(retrain_run())
    assert store.update(run.id, lambda now: now.moved("training")).kind == "retrain"


def test_asking_who_holds_a_lease_is_in_nobodys_way(store: RunStore, settings: Settings) -> None:
    ended = threading.Event()

    def ask() -> None:
        another = open_store(settings)
        while not ended.is_set():
            another.holder("retrain")

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(100):
            with store.lease("retrain", "one"):
                pass
    finally:
        ended.set()
        for thread in asking:
            thread.join()


def test_restoring_what_is_there_changes_nothing(store: RunStore) -> None:
    run = store.add(reindex_run())
    store.restore(run.id)
    assert store.load(run.id) == run


def test_a_file_that_is_no_record_hides_no_other(store: RunStore, tmp_path: Path) -> None:
    run = store.add(reindex_run())
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    assert store.all() == [run]


@pytest.mark.parametrize("change", [{"state": "nonsense"}, {"state": "training"}, {"dimension": "three"}])
def test_a_record_with_a_nonsensical_value_is_refused_in_one_line(
    store: RunStore, tmp_path: Path, change: dict[str, str]
) -> None:
    run = store.add(reindex_run())
    record = tmp_path / "runs" / "broken" / "run.json"
    record.parent.mkdir()
    record.write_text(json.dumps({**run.as_dict(), **change, "id": "broken"}))
    assert store.all() == [run]
    with pytest.raises(RunError) as caught:
        store.load("broken")
    assert "\n" not in str(caught.value)


def test_nothing_is_lost_that_is_there(store: RunStore) -> None:
    assert not store.is_lost(store.add(reindex_run()).id)


def test_what_is_shared_needs_redis(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="redis_url is not set; workers and schedules share their runs in Redis"):
        open_shared_store(load_settings(home=tmp_path))
