"""Workers as operations meet them: started wrongly, asked wrongly, on a schedule, from the command line."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keydistill.errors import InputError, RunBusyError, SettingsError
from keydistill.execution import (
    ReindexOrder,
    WorkerProcess,
    fire_schedule,
    pause_schedule,
    resume_schedule,
    waiting_reason,
    watch,
)
from keydistill.runs import Fired, ReindexRun, reindex_of
from keydistill.settings import load_settings
from tests.support.cluster import Cluster
from tests.support.places import ROOT
from tests.workers import orders
from tests.workers.conftest import PART_ROWS, Content, assert_same, content


def celery(cluster: Cluster, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "keydistill.workers.app", *arguments],
        env={**cluster.environment, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"KEYDISTILL_REDIS_URL": "redis://:hush@127.0.0.1:1/0"}, "Redis at 127.0.0.1:1 cannot be used"),
        ({"KEYDISTILL_QDRANT_URL": "http://127.0.0.1:1"}, "127.0.0.1:1"),
        ({"KEYDISTILL_ENGINE": "embedded"}, "the engine is embedded, which only one process can write"),
        ({"KEYDISTILL_SHARED": "nothing://x"}, "the shared storage nothing://x cannot be reached"),
        ({"KEYDISTILL_PART_ROWS": "many"}, "setting 'part_rows'"),
    ],
    ids=["redis", "qdrant", "engine", "shared", "settings"],
)
def test_a_worker_that_cannot_work_ends_at_once_and_says_why(
    cluster: Cluster, environment: dict[str, str], said: str
) -> None:
    environment = {"KEYDISTILL_QDRANT_RETRIES": "0", **environment}
    ended = celery(cluster, "worker", "-Q", "control,embed", "-P", "solo", **environment)
    assert ended.returncode != 0
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.stderr
    assert said in lines[0]
    assert "hush" not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def test_workers_without_redis_say_what_to_set(cluster: Cluster) -> None:
    environment = {name: value for name, value in cluster.environment.items() if name != "KEYDISTILL_REDIS_URL"}
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "keydistill.workers.app", "beat"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "error: redis_url is not set; workers need it: KEYDISTILL_REDIS_URL=" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_control_worker_never_imports_torch(cluster: Cluster, inventory: Path, expected: Content) -> None:
    # The same functions that its tasks call, in one process, up to the messages for the embed workers.
    code = f"""
import sys
from pathlib import Path
from keydistill.execution import ReindexOrder, advance, order_reindex, worker_process
from keydistill.workers import sender
import keydistill.workers.tasks
process = worker_process()
order = ReindexOrder(files=(Path({str(inventory)!r}),), alias="no-torch")
run = order_reindex(process.settings, order, sender(process.settings))
sent = []
print(advance(process, run.id, "control", lambda *message, queue: sent.append(message)))
assert len(sent) == 6, sent
process.store.update(run.id, lambda now: now.moved("cancelled"))
loaded = [name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules]
sys.exit(f"imported {{loaded}}" if loaded else 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], env=cluster.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "is building" in ended.stdout


def test_celery_call_does_what_the_command_does(cluster: Cluster, inventory: Path, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed")
    kwargs = json.dumps({"files": [str(inventory)], "alias": "called"})
    called = celery(cluster, "call", "keydistill.reindex", "--kwargs", kwargs)
    assert called.returncode == 0, called.stderr
    answer = celery(cluster, "result", called.stdout.strip())
    run = cluster.wait_over(answer.stdout.strip().split("'")[-2])
    assert run.state == "live", run.error
    assert_same(content(cluster.engine, "called"), expected)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("reindex", {"file": "x"}, "reindex, 'files': Field required; it takes files, categories"),
        (
            "retrain",
            {"signals": "/s", "endpoint": "http://127.0.0.1:1/v1", "model": "m"},
            "the setting judge_endpoints",
        ),
    ],
)
def test_a_bad_call_is_refused_before_there_is_a_run(
    cluster: Cluster, kind: str, values: dict[str, Any], said: str
) -> None:
    cluster.worker("control")
    before = len(cluster.store.all())
    called = celery(cluster, "call", f"keydistill.{kind}", "--kwargs", json.dumps(values))
    answer = celery(cluster, "result", called.stdout.strip())
    assert said in answer.stderr + answer.stdout
    assert len(cluster.store.all()) == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "'files': Field required"),
        ({"files": []}, "'files'"),
        ({"files": ["/not/there.csv"]}, "/not/there.csv is no file here"),
        ({"files": ["INVENTORY"], "colour": 1}, "'colour'"),
        ({"files": ["INVENTORY"], "dimension": 0}, "'dimension'"),
        ({"files": ["INVENTORY"], "dimension": 64}, "has 32 dimensions, asked for 64"),
        ({"files": ["INVENTORY"], "student": "/no/student"}, "was not found"),
    ],
)
def test_bad_orders(cluster: Cluster, inventory: Path, values: dict[str, Any], said: str) -> None:
    values = {name: [str(inventory)] if value == ["INVENTORY"] else value for name, value in values.items()}
    before = len(cluster.store.all())
    with pytest.raises(Exception, match=said) as caught:
        orders.order_reindex(cluster.settings, ReindexOrder.of(values))
    assert "\n" not in str(caught.value)
    assert len(cluster.store.all()) == before


def test_an_order_of_no_kind(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="there is no task 'dance'; expected reindex, sync, retrain or prune"):
        orders.order_by_name(cluster.settings, "dance", {})


def test_the_settings_must_allow_workers(inventory: Path, tmp_path: Path) -> None:
    order = ReindexOrder.of({"files": [inventory]})
    with pytest.raises(SettingsError, match="redis_url is not set"):
        orders.order_reindex(load_settings(home=tmp_path), order)
    with pytest.raises(SettingsError, match="the engine is embedded"):
        orders.order_reindex(load_settings(home=tmp_path, redis_url="redis://127.0.0.1:1"), order)


def test_the_command_follows_the_run(cluster: Cluster, inventory: Path, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed")
    done = cluster.keydistill("--alias", "followed", "reindex", inventory)
    assert done.returncode == 0, done.stderr
    assert "live" in done.stdout.splitlines()[0]
    assert "alias          followed: nothing -> followed-" in done.stdout
    assert_same(content(cluster.engine, "followed"), expected)
    given = cluster.keydistill("--alias", "given", "reindex", inventory, "--no-wait", "--json")
    run = json.loads(given.stdout)
    assert run["state"] == "planned"
    watched = cluster.keydistill("runs", "watch", run["id"])
    assert watched.returncode == 0, watched.stderr
    assert f"run {run['id']} is live" in watched.stdout
    listed = cluster.keydistill("runs", "list")
    assert f"{run['id']}  reindex  live  " in listed.stdout
    shown = cluster.keydistill("runs", "show", run["id"])
    assert "carried out by Celery workers" in shown.stdout


def slow_run(cluster: Cluster, inventory: Path, alias: str) -> ReindexRun:
    cluster.worker("control"), cluster.worker("embed")
    cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=0.4)
    run = orders.order_reindex(cluster.settings, ReindexOrder.of({"files": [inventory], "alias": alias}))
    return reindex_of(cluster.wait(run.id, lambda run: run.parts_done, "in the middle"))


def test_a_cancelled_run_stops(cluster: Cluster, inventory: Path) -> None:
    run = slow_run(cluster, inventory, "cancelled")
    dry = cluster.keydistill("runs", "cancel", run.id, "--dry-run")
    assert "would be cancelled; dry run" in dry.stdout
    assert cluster.keydistill("runs", "cancel", run.id).returncode == 0
    cluster.wait_free(run.lease_name)
    cluster.front.no_faults()
    ended = cluster.store.load(run.id)
    assert ended.state == "cancelled"
    assert "cancelled" not in cluster.engine.aliases()
    again = cluster.keydistill("reindex", "--resume", run.id)
    assert again.returncode == 1
    assert again.stderr == f"error: run {run.id} is cancelled: there is nothing to resume\n"
    watched = cluster.keydistill("runs", "watch", run.id)
    assert watched.returncode == 1
    # Its lease is not in the way of the next one.
    cluster.wait_over(orders.order_reindex(cluster.settings, _order(inventory, "cancelled")).id)


def test_a_paused_run_waits_for_its_resume(cluster: Cluster, inventory: Path, expected: Content) -> None:
    run = slow_run(cluster, inventory, "paused")
    paused = cluster.keydistill("runs", "pause", run.id)
    assert paused.returncode == 0, paused.stderr
    # The part that was under way is finished, and the messages of the others come to nothing.
    for number in range(run.parts):
        cluster.wait_free(f"{run.id} part {number}")
    cluster.wait(run.id, lambda _: cluster.store.messages_waiting("embed") == 0, "out of messages")
    cluster.front.no_faults()
    assert watch(WorkerProcess(cluster.settings), lambda *_, queue: None) == []
    waiting = reindex_of(cluster.store.load(run.id))
    assert (waiting.state, waiting.is_paused) == ("building", True)
    assert waiting.missing_parts
    assert cluster.store.holder(run.lease_name) == run.id
    resumed = cluster.keydistill("runs", "resume", run.id)
    assert f"run {run.id} goes on" in resumed.stdout, resumed.stderr
    assert cluster.wait_over(run.id).state == "live"
    assert_same(content(cluster.engine, "paused"), expected)


def _order(inventory: Path, alias: str) -> ReindexOrder:
    return ReindexOrder.of({"files": [inventory], "alias": alias})


@pytest.mark.parametrize(("answer", "state"), [("n", "live"), ("y", "cancelled")])
def test_ctrl_c_leaves_the_run_or_cancels_it(cluster: Cluster, inventory: Path, answer: str, state: str) -> None:
    cluster.worker("control"), cluster.worker("embed")
    cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=0.4)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "keydistill.cli.main", "--alias", f"ctrl-{answer}", "reindex", str(inventory)],
        env={**cluster.environment, "TERM": "xterm"},
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen = _read_until(controller, "is given to the workers")
    run_id = seen.partition("run ")[2].split()[0]
    cluster.wait(run_id, lambda run: run.parts_done, "in the middle")
    process.send_signal(2)
    _read_until(controller, "Cancel run")
    os.write(controller, f"{answer}\n".encode())
    assert process.wait(30) == 130
    os.close(controller)
    cluster.front.no_faults()
    assert cluster.wait_over(run_id).state == state


def _read_until(terminal: int, text: str) -> str:
    seen = ""
    deadline = time.monotonic() + 60
    while text not in seen.replace("\r\n", " "):
        assert time.monotonic() < deadline, seen
        seen += os.read(terminal, 4_096).decode(errors="replace")
    return seen


def test_a_schedule_starts_runs_and_no_second_one(
    cluster: Cluster, inventory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    schedule = {"nightly": {"cron": "0 3 * * *", "task": "reindex", "kwargs": {"files": [str(inventory)]}}}
    settings = load_settings(
        **{**cluster.settings.model_dump(), "alias": "scheduled", "schedules": schedule, "redis_url": cluster.redis.url}
    )

    def start(task: str, kwargs: Mapping[str, Any], started_by: str) -> str:
        run = orders.order_by_name(settings, task, kwargs, started_by=started_by)
        assert run is not None
        return run.id

    cluster.worker("embed").stop()
    fired = fire_schedule(settings, cluster.store, "nightly", start)
    assert fired.run is not None
    assert cluster.store.load(fired.run).started_by == "schedule nightly"
    second = fire_schedule(settings, cluster.store, "nightly", start)
    assert second.run == fired.run
    assert f"run {fired.run} is building" in str(second.said)
    cluster.worker("control"), cluster.worker("embed")
    assert cluster.wait_over(fired.run).state == "live"
    pause_schedule(settings, cluster.store, "nightly")
    assert fire_schedule(settings, cluster.store, "nightly", start).said == "paused"
    resume_schedule(settings, cluster.store, "nightly")
    with pytest.raises(SettingsError, match="there is no schedule 'daily'; in the settings there are: nightly"):
        pause_schedule(settings, cluster.store, "daily")


def test_a_schedule_prunes_at_once(cluster: Cluster, inventory: Path) -> None:
    schedule = {"weekly": {"cron": "0 6 * * 1", "task": "prune", "kwargs": {"keep": 0, "why": "weekly"}}}
    options = {**cluster.settings.model_dump(), "alias": "pruned", "grace_seconds": 0, "schedules": schedule}
    settings = load_settings(**{**options, "redis_url": cluster.redis.url})
    cluster.worker("control"), cluster.worker("embed")
    first, second = (
        reindex_of(cluster.wait_over(orders.order_reindex(settings, _order(inventory, "pruned")).id)) for _ in range(2)
    )
    assert (first.state, second.state) == ("live", "live")

    def start(task: str, kwargs: Mapping[str, Any], started_by: str) -> None:
        assert orders.order_by_name(settings, task, kwargs, started_by=started_by) is None

    assert fire_schedule(settings, cluster.store, "weekly", start).run is None
    assert first.collection not in cluster.engine.collections()
    assert cluster.engine.aliases()["pruned"] == second.collection
    (line,) = [change for change in cluster.store.history() if change.action == "prune"]
    assert (line.by, line.why, line.before) == ("schedule weekly", "weekly", first.collection)


def test_celery_call_syncs_and_prunes(cluster: Cluster, inventory: Path, tmp_path: Path) -> None:
    cluster.worker("control"), cluster.worker("embed")
    assert cluster.wait_over(orders.order_reindex(cluster.settings, _order(inventory, "called")).id).state == "live"
    lines = inventory.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "less.csv").write_text("".join(lines[:-5]), encoding="utf-8")
    order = json.dumps({"files": [str(tmp_path / "less.csv")], "alias": "called"})
    assert celery(cluster, "call", "keydistill.sync", "--kwargs", order).returncode == 0
    deadline = time.monotonic() + 60
    while cluster.engine.count("called") != len(lines) - 6:
        assert time.monotonic() < deadline, cluster.logs()
        time.sleep(0.1)
    called = celery(cluster, "call", "keydistill.prune", "--kwargs", '{"keep": -1}').stdout.strip()
    result = celery(cluster, "result", called)
    assert "prune, 'keep': Input should be greater than or equal to 0" in result.stdout + result.stderr


def test_a_second_order_is_told_of_the_first(cluster: Cluster, inventory: Path) -> None:
    run = slow_run(cluster, inventory, "twice")
    with pytest.raises(RunBusyError, match=f"run {run.id} is building for alias 'twice'"):
        orders.order_reindex(cluster.settings, _order(inventory, "twice"))
    refused = cluster.keydistill("--alias", "twice", "reindex", inventory, "--executor", "local")
    assert refused.returncode == 1
    assert f"run {run.id} is building for alias 'twice'" in refused.stderr
    cluster.front.no_faults()
    cluster.wait_over(run.id)


def test_workers_with_homes_of_their_own(tmp_path: Path, tiny_folder: Path, inventory: Path, expected: Content) -> None:
    """Two machines: nothing is shared but Redis, the engine and the shared storage."""
    with Cluster(tmp_path / "cluster", tiny_folder, part_rows=PART_ROWS, shared=str(tmp_path / "shared")) as cluster:
        cluster.worker("control"), cluster.beat()
        other = cluster.worker_with("embed", KEYDISTILL_HOME=str(tmp_path / "other-home"))
        run = orders.order_reindex(cluster.settings, _order(inventory, "shared"))
        assert cluster.wait_over(run.id).state == "live", cluster.logs()
        assert_same(content(cluster.engine, "shared"), expected)
        assert (tmp_path / "other-home" / "runs" / run.id / "snapshot" / "manifest.json").is_file()
        other.stop()


def test_a_run_without_a_worker_says_so_to_who_orders_it_and_who_looks(cluster: Cluster, inventory: Path) -> None:
    for queue in ("control", "embed"):
        cluster.worker(queue).stop()
    missing = "no worker of queue control shows a sign of life"
    given = cluster.keydistill("--alias", "lonely", "reindex", inventory, "--no-wait")
    assert given.returncode == 0
    assert missing in given.stderr
    # It has not come to an end, and nothing is said of one.
    assert "live" not in given.stdout
    (run,) = [run for run in cluster.store.all() if isinstance(run, ReindexRun) and run.alias == "lonely"]
    assert run.id in given.stdout
    shown = cluster.keydistill("runs", "show", run.id)
    assert re.search(rf"^waits +{missing}; run {run.id} waits until there is one", shown.stdout, re.MULTILINE)
    looked = cluster.keydistill("status")
    assert looked.returncode == 3
    assert f"unfinished     {run.id}: reindex, planned waits: {missing}" in looked.stdout
    cluster.worker("control"), cluster.worker("embed")
    assert cluster.wait_over(run.id).state == "live"


def test_while_a_part_is_tried_again_the_run_says_why(cluster: Cluster, inventory: Path) -> None:
    cluster.worker("control"), cluster.worker("embed")
    cluster.front.fault(status=503, match="PUT /collections/[^/]*/points")
    run = orders.order_reindex(cluster.settings, _order(inventory, "retried"))
    deadline = time.monotonic() + 60
    while (reason := waiting_reason(cluster.settings, cluster.store.load(run.id))) is None or "Qdrant" not in reason:
        assert time.monotonic() < deadline, cluster.logs()
        time.sleep(0.1)
    shown = cluster.keydistill("runs", "show", run.id)
    cluster.front.no_faults()
    assert re.search(
        r"^waits +.*Qdrant at .*: a fault that the test ordered.*; it is tried again$", shown.stdout, re.M
    ), shown.stdout
    assert cluster.wait_over(run.id).state == "live"


def test_schedules_are_listed_in_their_own_time_zone(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "keydistill.toml").write_text(
        'schedule_timezone = "Asia/Tokyo"\n[schedules.nightly]\ncron = "0 3 * * *"\ntask = "prune"\n'
    )
    cluster.store.schedules.note("nightly", Fired("2026-01-01T20:00:00+00:00", None, "a reason"))
    environment = {"KEYDISTILL_CONFIG": str(tmp_path / "keydistill.toml")}
    ended = subprocess.run(
        [sys.executable, "-m", "keydistill.cli.main", "schedule", "list"],
        env={**cluster.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    header, line = ended.stdout.splitlines()
    assert "next (Asia/Tokyo)" in header
    assert re.search(r"^nightly +prune  0 3 \* \* \*  \S+T03:00\+09:00  2026-01-02T05:00\+09:00  - +a reason$", line), (
        line
    )
