"""What the store in Redis does beyond what every store does."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from keydistill.errors import (
    LeaseLostError,
    RedisUnavailableError,
    RunBusyError,
    RunError,
    RunNotFoundError,
    SettingsError,
)
from keydistill.files import file_lock
from keydistill.runs import AliasChange, Fired
from keydistill.runs.redis_store import RedisRunStore
from tests.runs.records import reindex_run
from tests.support.redis_server import RedisServer, address_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as running:
        yield running


def open_store(server: RedisServer, home: Path, lease_seconds: float = 1.0) -> RedisRunStore:
    return RedisRunStore(address_of(server.url), home, lease_seconds=lease_seconds)


@pytest.fixture
def store(server: RedisServer, tmp_path: Path) -> RedisRunStore:
    return open_store(server, tmp_path / "home")


def sleeper(url: str, home: Path, run_id: str, holding: Event, tries: Event, outcomes: "Queue[str]") -> None:
    store = RedisRunStore(address_of(url), home, lease_seconds=1)
    with store.lease("build:keyphrases", run_id) as lease:
        holding.set()
        tries.wait()
        try:
            store.update(run_id, lambda now: now.moved("snapshot"), lease)
            outcomes.put("changed")
        except LeaseLostError as error:
            outcomes.put(str(error))


def test_a_process_that_slept_through_its_lease_changes_nothing(
    store: RedisRunStore, server: RedisServer, tmp_path: Path
) -> None:
    run = store.add(reindex_run())
    context = multiprocessing.get_context("spawn")
    holding, tries = context.Event(), context.Event()
    outcomes: Queue[str] = context.Queue()
    process = context.Process(target=sleeper, args=(server.url, tmp_path, run.id, holding, tries, outcomes))
    process.start()
    assert process.pid is not None
    assert holding.wait(30)
    os.kill(process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while store.holder(run.lease_name) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with store.lease(run.lease_name, run.id):
        # First this: to set an event that somebody waits for is to wait until he wakes.
        os.kill(process.pid, signal.SIGCONT)
        tries.set()
        assert "no longer holds the lease on 'build:keyphrases'" in outcomes.get(timeout=30)
        assert store.load(run.id).state == "planned"
    process.join()


def test_a_lease_is_renewed_as_long_as_it_is_held(store: RedisRunStore) -> None:
    with store.lease("retrain", "one") as lease:
        time.sleep(2.5)
        lease.check()


def test_a_lease_that_is_left_to_its_run(store: RedisRunStore, server: RedisServer, tmp_path: Path) -> None:
    another = open_store(server, tmp_path)
    store.acquire("retrain", "one").leave_to_run(60)
    assert (store.holder("retrain"), store.owner("retrain")) == ("one", None)
    with pytest.raises(RunBusyError):
        another.acquire("retrain", "two")
    taken = another.acquire("retrain", "one")
    assert another.owner("retrain") == taken.owner
    store.reserve("retrain", "one", 60)
    taken.check()
    taken.release()
    assert store.holder("retrain") is None


def test_a_reservation_is_given_up_and_nothing_else_is(store: RedisRunStore) -> None:
    store.reserve("retrain", "one", 60)
    store.give_up("retrain", "two")
    assert store.holder("retrain") == "one"
    store.give_up("retrain", "one")
    assert store.holder("retrain") is None
    with store.lease("retrain", "one") as lease:
        store.give_up("retrain", "one")
        lease.check()


def test_a_reservation_ends(store: RedisRunStore) -> None:
    store.reserve("retrain", "one", 0.3)
    with pytest.raises(RunBusyError, match="one holds 'retrain'"):
        store.reserve("retrain", "two", 1)
    time.sleep(0.4)
    store.reserve("retrain", "two", 1)
    assert store.holder("retrain") == "two"


def test_an_emptied_redis(store: RedisRunStore, server: RedisServer) -> None:
    run = store.add(reindex_run())
    store.update(run.id, lambda now: now.moved("snapshot"))
    server.flush()
    assert store.is_lost(run.id)
    assert [(each.id, each.state) for each in store.all()] == [(run.id, "snapshot")]
    assert store.load(run.id[:15]).state == "snapshot"
    with pytest.raises(RunNotFoundError, match=f"if Redis was emptied, take its copy up with --resume {run.id}"):
        store.update(run.id, lambda now: now.moved("building"))
    store.restore(run.id)
    store.restore(run.id)
    assert not store.is_lost(run.id)
    assert store.update(run.id, lambda now: now.moved("building")).state == "building"


def test_a_restart_loses_nothing_and_no_lease(server: RedisServer, tmp_path: Path) -> None:
    store = open_store(server, tmp_path / "home", lease_seconds=10)
    run = store.add(reindex_run())
    with store.lease("retrain", "one") as lease:
        server.kill()
        server.start()
        lease.check()
        assert store.load(run.id) == run


def test_a_server_that_is_gone_is_one_line_without_the_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", password="hush-hush") as server:
        store = open_store(server, tmp_path)
        store.check_format()
        wrong = RedisRunStore(address_of(server.url.replace("hush", "hash")), tmp_path)
        with pytest.raises(RedisUnavailableError, match="cannot be used") as caught:
            wrong.all()
        assert "hash" not in str(caught.value)
        url = server.url
    assert "hush" not in repr(store)
    with pytest.raises(RedisUnavailableError, match=r"Redis at 127\.0\.0\.1:\d+ cannot be used") as caught:
        RedisRunStore(address_of(url), tmp_path).all()
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="is no address of a Redis"):
        RedisRunStore(address_of("redis://x:y"), tmp_path)


def test_another_format_is_refused(store: RedisRunStore, server: RedisServer) -> None:
    store.check_format()
    store.check_format()
    store.call(lambda redis: redis.set("keydistill:format", 99))
    with pytest.raises(RedisUnavailableError, match=r"by a newer keydistill .*format 99; this one reads format 1"):
        store.check_format()


_NEWER = {"format": 2, "written_by": "9.1"}
_TOLD = r"was written by a newer keydistill \(9\.1, format 2; this one reads format 1\); upgrade keydistill"


def _written(store: RedisRunStore, key: str) -> bytes:
    return str(store.call(lambda redis: redis.get(key))).encode()


def test_a_record_of_the_future_is_named_and_stops_no_other(
    store: RedisRunStore, caplog: pytest.LogCaptureFixture
) -> None:
    newer, other = store.add(reindex_run()), store.add(reindex_run())
    key = f"keydistill:run:{newer.id}"
    values = json.loads(_written(store, key))
    assert values["format"] == 1
    text = json.dumps({**values, **_NEWER, "new_field": 1})
    store.call(lambda redis: redis.set(key, text))
    # Its copy, which is older, does not stand in for it.
    assert store.all() == store.all() == [other]
    assert len([record for record in caplog.records if newer.id in record.message]) == 1
    for refused in (
        lambda: store.load(newer.id),
        lambda: store.forget(newer.id),
        lambda: store.update(newer.id, lambda run: run.moved("snapshot")),
    ):
        with pytest.raises(RunError, match=_TOLD):
            refused()
    store.restore(newer.id)
    store.update(other.id, lambda run: run.moved("snapshot"))
    assert _written(store, key) == text.encode()


def test_a_copy_of_the_future_is_named(store: RedisRunStore, server: RedisServer) -> None:
    run = store.add(reindex_run())
    path = store.folder(run.id) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **_NEWER}))
    server.flush()
    with pytest.raises(RunError, match=_TOLD):
        store.restore(run.id)
    assert store.all() == []


@pytest.mark.parametrize("action", ["swap", "hold"])
def test_a_line_of_the_history_of_the_future_is_named(store: RedisRunStore, action: str) -> None:
    line = json.dumps({"action": action, "new_field": 1, **_NEWER})
    store.call(lambda redis: redis.rpush("keydistill:history", line))
    # It may say what must not be pruned, or that the alias is held.
    with pytest.raises(RunError, match=_TOLD):
        store.history()
    with pytest.raises(RunError, match=_TOLD):
        store.note(AliasChange.made("swap", "keyphrases", None, "new"))
    assert store.call(lambda redis: redis.lrange("keydistill:history", 0, -1)) == [line]


def test_pauses_of_the_future_are_named(store: RedisRunStore, server: RedisServer, tmp_path: Path) -> None:
    store.schedules.pause("nightly")
    mark, key = _written(store, "keydistill:paused:known"), "keydistill:paused:known"
    assert json.loads(mark)["format"] == 1
    store.call(lambda redis: redis.set(key, json.dumps(_NEWER)))
    for refused in (store.schedules.is_paused, store.schedules.pause, store.schedules.resume):
        with pytest.raises(RunError, match=_TOLD):
            refused("nightly")
    assert json.loads(_written(store, key)) == _NEWER
    # This machine's copy, which counts once Redis was emptied.
    copy = tmp_path / "home" / "paused.json"
    assert json.loads(copy.read_text())["names"] == ["nightly"]
    copy.write_text(json.dumps({**_NEWER, "names": {"weekly": "why"}}))
    store.call(lambda redis: redis.set(key, 1))  # of before there were numbers
    assert store.schedules.is_paused("nightly")
    server.flush()
    with pytest.raises(RunError, match=_TOLD):
        store.schedules.is_paused("weekly")
    assert "weekly" in json.loads(copy.read_text())["names"]
    copy.write_text('["monthly"]')
    assert store.schedules.is_paused("monthly")


def test_what_a_schedule_of_the_future_did_is_left_alone(store: RedisRunStore) -> None:
    fired, key = Fired("2026-11-24T10:00:00+00:00", None, "paused"), "keydistill:schedule:nightly"
    store.schedules.note("nightly", fired)
    assert json.loads(_written(store, key))["format"] == 1
    text = json.dumps(_NEWER)
    store.call(lambda redis: redis.set(key, text))
    assert store.schedules.last("nightly") is None
    store.schedules.note("nightly", fired)
    store.schedules.note("weekly", fired)
    assert (store.schedules.last("weekly"), _written(store, key)) == (fired, text.encode())


def test_the_copy_is_what_was_recorded(store: RedisRunStore, tmp_path: Path) -> None:
    run = store.add(reindex_run())
    store.update(run.id, lambda now: now.moved("snapshot"))
    copy = json.loads((tmp_path / "home" / "runs" / run.id / "run.json").read_text())
    assert copy["state"] == "snapshot"


def test_a_process_that_slept_brings_back_no_old_copy(
    store: RedisRunStore, server: RedisServer, tmp_path: Path
) -> None:
    run = store.add(reindex_run())
    other = open_store(server, tmp_path / "home")
    store.update(run.id, lambda now: now.moved("snapshot"))
    other.update(run.id, lambda now: now.moved("building"))
    store._copy(run.id)  # as if it had slept since its update
    assert json.loads((tmp_path / "home" / "runs" / run.id / "run.json").read_text())["state"] == "building"


def test_nobody_waits_for_a_process_that_is_stopped_while_it_copies(store: RedisRunStore, tmp_path: Path) -> None:
    run = store.add(reindex_run())
    with file_lock(tmp_path / "home" / "runs" / run.id / ".lock"):
        assert store.update(run.id, lambda now: now.moved("snapshot")).state == "snapshot"


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"kind": "dance", "id": "x"})])
def test_a_record_that_cannot_be_read_hides_no_other(store: RedisRunStore, text: str) -> None:
    run = store.add(reindex_run())
    store.call(lambda redis: (redis.set("keydistill:run:x", text), redis.sadd("keydistill:runs", "x")))
    assert store.all() == [run]
    with pytest.raises(RunError, match="a run in Redis cannot be read"):
        store.load("x")


@pytest.mark.parametrize("url", ["redis://:hush/hush@127.0.0.1:6379/0", "redis://:hush@127.0.0.1:port/0"])
def test_an_address_that_is_none_tells_nothing_of_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no address of a Redis") as caught:
        RedisRunStore(address_of(url), tmp_path)
    assert "hush" not in str(caught.value)


def test_a_host_name_that_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailableError, match="cannot be used"):
        RedisRunStore(address_of(f"redis://{'a' * 70}.example:6379/0"), tmp_path).all()


def test_a_reservation_beside_a_process_of_the_same_run(store: RedisRunStore) -> None:
    with store.lease("retrain", "one") as lease:
        store.reserve("retrain", "one", 60)
        assert store.owner("retrain") == lease.owner
        with pytest.raises(RunBusyError, match="one holds 'retrain'"):
            store.reserve("retrain", "two", 60)
    assert store.holder("retrain") is None


def test_marks_of_schedules(store: RedisRunStore) -> None:
    marks = store.schedules
    assert (marks.last("nightly"), marks.is_paused("nightly")) == (None, False)
    marks.pause("nightly")
    assert (marks.is_paused("nightly"), marks.is_paused("weekly")) == (True, False)
    marks.resume("nightly")
    assert not marks.is_paused("nightly")
    for fired in (Fired("2026-11-28T03:00:00+00:00", "one", None), Fired("2026-11-29T03:00:00+00:00", None, "paused")):
        marks.note("nightly", fired)
        assert marks.last("nightly") == fired


@pytest.mark.parametrize("text", ["{", "[]", '{"at": 3, "run": null, "said": null}', '{"at": "today"}'])
def test_a_mark_that_cannot_be_read_stops_no_schedule(store: RedisRunStore, text: str) -> None:
    store.call(lambda redis: redis.set("keydistill:schedule:nightly", text))
    assert store.schedules.last("nightly") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"run": "one"}', '{"run": "one", "owner": 3, "token": 1}'])
def test_a_lease_that_cannot_be_read_is_one_line(store: RedisRunStore, text: str) -> None:
    store.call(lambda redis: redis.set("keydistill:lease:retrain", text))
    with pytest.raises(RedisUnavailableError, match="a lease in Redis cannot be read") as caught:
        store.holder("retrain")
    assert "\n" not in str(caught.value)


def test_a_line_of_the_log_that_cannot_be_read_hides_no_other(
    store: RedisRunStore, caplog: pytest.LogCaptureFixture
) -> None:
    change = AliasChange.made("swap", "keyphrases", None, "keyphrases-1", run="one")
    store.note(change)
    assert store.history() == [change]
    store.call(lambda redis: redis.rpush("keydistill:history", json.dumps({**change.as_dict(), "action": "dance"})))
    assert store.history() == [change]
    assert "the audit log in Redis, line 2, is no change of an alias (action: Input should be" in caplog.text
    newer = json.dumps({**change.as_dict(), "format": 2, "written_by": "9.1"})
    store.call(lambda redis: redis.rpush("keydistill:history", newer))
    with pytest.raises(RunError, match=r"line 3, was written by a newer keydistill \(9.1, format 2"):
        store.history()


def test_the_log_survives_an_emptied_redis(store: RedisRunStore, server: RedisServer, tmp_path: Path) -> None:
    changes = [AliasChange.made("swap", "keyphrases", None, f"keyphrases-{number}") for number in range(3)]
    store.note(changes[0])
    store.note(changes[0])
    server.flush()
    assert store.history() == [changes[0]] * 2
    store.note(changes[1])
    assert store.history() == [changes[0], changes[0], changes[1]]
    # Others, who have no copy of their own, find it whole again.
    other = open_store(server, tmp_path / "other")
    assert other.history() == store.history()
    other.close()
    server.flush()
    (tmp_path / "home" / "history.jsonl").unlink()
    assert store.history() == []


def test_pauses_survive_an_emptied_redis(store: RedisRunStore, server: RedisServer) -> None:
    store.schedules.pause("nightly")
    store.schedules.pause("weekly")
    server.flush()
    assert store.schedules.is_paused("nightly")
    store.schedules.resume("nightly")
    assert (store.schedules.is_paused("nightly"), store.schedules.is_paused("weekly")) == (False, True)
    server.flush()
    assert (store.schedules.is_paused("nightly"), store.schedules.is_paused("weekly")) == (False, True)


def test_what_another_machine_resumed_is_not_paused_by_a_copy(
    store: RedisRunStore, server: RedisServer, tmp_path: Path
) -> None:
    other = open_store(server, tmp_path / "other")
    store.schedules.pause("nightly")
    assert other.schedules.is_paused("nightly")
    other.schedules.resume("nightly")
    assert not store.schedules.is_paused("nightly")
    other.close()


def test_messages_that_wait_are_counted(store: RedisRunStore) -> None:
    assert store.messages_waiting("embed") == 0
    store.call(lambda redis: redis.rpush("keydistill:celery:embed", "one", "two"))
    assert (store.messages_waiting("embed"), store.messages_waiting("control")) == (2, 0)


def test_a_redis_that_may_not_be_asked_what_it_evicts(store: RedisRunStore) -> None:
    assert store.eviction_policy() == "noeviction"
    store.call(lambda redis: redis.acl_setuser("default", commands=["-config"]))
    assert store.eviction_policy() is None
