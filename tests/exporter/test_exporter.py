"""What Prometheus reads says what the records say, whatever else is broken."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from keydistill.exporter import exposition
from keydistill.runs import (
    QUEUE_PREFIX,
    SENT_AT,
    AliasChange,
    Fired,
    Pause,
    Sign,
    open_shared_store,
    open_signs,
    open_store,
)
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import CollectionSpec, open_engine
from tests.runs.records import reindex_run, retrain_run, sync_run
from tests.support.redis_server import RedisServer


def samples(settings: Settings) -> dict[str, dict[tuple[str, ...], float]]:
    """Name -> values of its labels, by the labels' names -> value."""
    read: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(exposition(settings)):
        read[family.name.removeprefix("keydistill_")] = {
            tuple(sample.labels[name] for name in sorted(sample.labels)): sample.value for sample in family.samples
        }
    return read


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "home").mkdir()
    return load_settings(home=tmp_path / "home")


@pytest.fixture
def shared(server: RedisServer, tmp_path: Path) -> Settings:
    server.flush()
    (tmp_path / "home").mkdir()
    return load_settings(
        home=tmp_path / "home",
        redis_url=server.url,
        schedules={
            "hourly": {"cron": "0 * * * *", "task": "retrain"},
            "yearly": {"cron": "0 0 1 1 *", "task": "retrain"},
        },
    )


def test_runs(settings: Settings) -> None:
    store = open_store(settings)
    old, new = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    verdicts = {"rows": [{"verdict": "pass"}, {"verdict": "fail"}]}
    store.add(dataclasses.replace(reindex_run(), state="retired", created_at=old, rows=5, gate={"rows": []}))
    store.add(
        dataclasses.replace(
            reindex_run(),
            state="live",
            created_at=new,
            rows=7,
            rejected=3,
            parts=2,
            timings={"embedding": 3.5, "gate": 1},
            gate={"verdict": "refused", **verdicts},
        )
    )
    building = store.add(
        dataclasses.replace(reindex_run("other"), state="building", updated_at=new, parts=4, parts_done=(0, 2))
    )
    store.add(dataclasses.replace(sync_run(), updated_at=old).failed("it broke"))
    judge = {"labelled": 90, "unlabelled": 3, "unjudged": 4, "asked": 80, "malformed": 2}
    judged = {"judge": {**judge, "tokens": 1_000, "tokens_in": 900, "tokens_out": 100}}
    store.add(dataclasses.replace(retrain_run(), state="done", created_at=old, results=judged))
    read = samples(settings)
    assert read["runs"][("keyphrases", "reindex", "live")] == read["runs"][("keyphrases", "reindex", "retired")] == 1
    day = 1_767_225_600
    assert read["run_last_success_timestamp_seconds"] == {
        ("keyphrases", "reindex"): day + 86_400,
        ("", "retrain"): day,
    }
    assert read["run_last_failure_timestamp_seconds"][("keyphrases", "sync")] > day
    assert read["run_step_duration_seconds"] == {
        ("keyphrases", "reindex", "embedding"): 3.5,
        ("keyphrases", "reindex", "gate"): 1,
    }
    assert read["run_rows"] == {("keyphrases", "reindex"): 7}
    assert read["run_rejected_rows"] == {("keyphrases", "reindex"): 3}
    assert read["run_parts"] == {("keyphrases", "reindex"): 2}
    assert read["run_rows_per_second"] == {("keyphrases", "reindex"): 2}
    assert read["gate_runs"] == {("keyphrases", "refused"): 1}
    assert read["gate_checks"] == {("keyphrases", "pass"): 1, ("keyphrases", "fail"): 1}
    assert read["gate_refused"] == {("keyphrases",): 1}
    unfinished = read["unfinished_run_changed_timestamp_seconds"]
    assert unfinished[("other", "reindex", building.id, "building")] == day + 86_400
    assert read["unfinished_run_parts"] == {("other", building.id): 4}
    assert read["unfinished_run_parts_done"] == {("other", building.id): 2}
    assert read["judge_labelled_pairs"] == {(): 90}
    assert read["judge_unlabelled_pairs"] == {(): 3}
    assert read["judge_tokens"] == {(): 1_000}
    assert read["judge_tokens_by_direction"] == {("in",): 900, ("out",): 100}
    assert read["judge_malformed_answers"] == {(): 2}
    assert read["judge_asked_pairs"] == {(): 80}
    assert read["judge_unjudged_pairs"] == {(): 4}
    # The sync that failed, and the build that nobody works on.
    assert read["findings"] == {("warning",): 2, ("error",): 0}


def test_a_paused_run_says_since_when_and_by_whom(settings: Settings) -> None:
    store = open_store(settings)
    pause = Pause("2026-01-02T00:00:00+00:00", "ann@host")
    paused = store.add(dataclasses.replace(reindex_run(), state="building", paused=pause))
    store.add(reindex_run("other"))
    read = samples(settings)
    since = read["unfinished_run_paused_timestamp_seconds"]
    assert since == {("keyphrases", "ann@host", "reindex", paused.id): 1_767_312_000}
    # Nobody works on the other one, which needs somebody; the paused one does not.
    assert read["findings"] == {("warning",): 1, ("error",): 0}


def test_aliases(settings: Settings) -> None:
    store = open_store(settings)
    built = {"student_version": "tiny-1", "created_at": "2026-01-01T00:00:00+00:00"}
    with closing(open_engine(settings)) as engine:
        for alias in ("good", "gone"):
            engine.create(f"{alias}-1", CollectionSpec(4, quantization="none"), built)
            engine.finish(f"{alias}-1")
            engine.swap_alias(alias, f"{alias}-1", None)
    for action in ("swap", "hold"):
        store.note(AliasChange.made(action, "good", None, "good-1", why="so"))
    (collection,) = (settings.home / "collections").glob("gone-1*")
    collection.rename(settings.home / "elsewhere")
    read = samples(settings)
    assert read["alias_lost"] == {("good",): 0, ("gone",): 1}
    assert read["alias_info"] == {("good", "good-1", "tiny-1"): 1}
    assert read["alias_points"] == {("good",): 0}
    assert read["alias_size_bytes"][("good",)] > 0
    assert read["alias_built_timestamp_seconds"] == {("good",): 1_767_225_600}
    assert set(read["alias_changed_timestamp_seconds"]) == {("swap", "good"), ("hold", "good")}
    assert read["alias_held"] == {("good",): 1, ("gone",): 0}
    assert set(read["exporter_up"].values()) == {1}


def test_workers_queues_leases_and_schedules(shared: Settings, server: RedisServer) -> None:
    store, signs = open_shared_store(shared), open_signs(shared)
    now = time.time()
    signs.give(Sign(name="embed@a", queues=["embed"], at=now, stopped=[17]))
    signs.give(Sign(name="judge@a", queues=["judge"], at=now - 3_600, stopped=[]))
    signs.give(Sign(name="beat@a", queues=[], at=now, stopped=[]))
    signs.close()
    with redis.Redis.from_url(server.url) as client:
        client.lpush(f"{QUEUE_PREFIX}embed", json.dumps({"headers": {SENT_AT: now - 100}}), "second")
    run = store.add(reindex_run())
    lease = store.acquire(run.lease_name, run.id)
    for name in shared.schedules:
        store.schedules.note(name, Fired("2026-11-01T00:30:00+00:00", None, "no signals there"))
    read = samples(shared)
    lease.release()
    assert read["node_last_sign_timestamp_seconds"][("judge@a", "worker")] == pytest.approx(now - 3_600)
    assert ("beat@a", "beat") in read["node_last_sign_timestamp_seconds"]
    assert read["node_stopped_processes"] == {("embed@a",): 1, ("judge@a",): 0}
    assert read["workers"] == {("control",): 0, ("embed",): 1, ("judge",): 0, ("train",): 0}
    assert read["beats"] == {(): 1}
    assert read["queue_messages"][("embed",)] == 2
    assert 100 <= read["queue_oldest_wait_seconds"][("embed",)] < 200
    assert read["lease_info"] == {(run.lease_name, run.id): 1}
    assert read["schedule_missed"] == {("hourly",): 10, ("yearly",): 0}
    assert read["schedule_failed"] == {("hourly",): 1, ("yearly",): 1}
    store.schedules.pause("hourly")
    read = samples(shared)
    assert read["schedule_paused"] == {("hourly",): 1, ("yearly",): 0}
    assert read["schedule_missed"][("hourly",)] == 0


def test_what_cannot_be_read_is_left_out_and_said(shared: Settings) -> None:
    away = load_settings(home=shared.home, redis_url="redis://:secret@127.0.0.1:1/0")
    read = samples(away)
    assert read["exporter_up"] == {
        ("runs",): 0,
        ("aliases",): 1,  # there is none, so nothing of it is asked for
        ("disk",): 1,
        ("models",): 1,
        ("findings",): 0,
        ("workers",): 0,
    }
    assert "runs" not in read
    assert read["home_filesystem_free_bytes"][()] > 0


def test_the_process_is_scraped_sees_how_long_messages_wait_and_ends_when_told(
    shared: Settings, server: RedisServer
) -> None:
    environment = {
        "KEYDISTILL_HOME": str(shared.home),
        "KEYDISTILL_REDIS_URL": server.url,
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-m", "keydistill.cli.main", "exporter", "--port", "0"]
    with redis.Redis.from_url(server.url) as client:
        client.lpush(f"{QUEUE_PREFIX}embed", json.dumps({"headers": {"id": "1"}}))
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        url = re.search(r"http://\S+", line)
        assert url is not None, line

        def wait() -> float:
            text = urlopen(url[0], timeout=20).read().decode()
            found = re.search(r'keydistill_queue_oldest_wait_seconds\{queue="embed"\} (\S+)', text)
            assert found is not None, text
            return float(found[1])

        first = wait()
        assert wait() > first
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_a_port_that_is_taken(settings: Settings, server: RedisServer) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "keydistill.cli.main", "--home", settings.home, "exporter", "--port", str(server.port)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: cannot listen on 127.0.0.1:{server.port}: Address already in use")
    assert ended.stderr.count("\n") == 1
