"""Whatever is killed, slow or full, a reindex ends in the same collection, and the alias names what it should."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.errors import EngineUnavailableError, RunBusyError
from keydistill.execution import ReindexOrder, SyncOrder, WorkerProcess, advance, embed_part
from keydistill.runs import ReindexRun, SyncRun, reindex_of, sync_of
from keydistill.workers import sender
from tests.support.cluster import Cluster
from tests.support.inventories import write_inventory
from tests.workers import orders
from tests.workers.conftest import ROWS, Content, assert_same, content


@pytest.fixture(autouse=True)
def nothing_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.front.no_faults()
    # A second worker that lives on would do the parts of the one that the next test kills.
    cluster.stop_all_but_first()
    for name in ("poison", "disk-full"):
        (cluster.settings.home / name).unlink(missing_ok=True)


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).removeprefix("test_").replace("[", "-").replace("]", "")[:60]


def begin(cluster: Cluster, inventory: Path, alias: str) -> ReindexRun:
    return orders.order_reindex(cluster.settings, ReindexOrder.of({"files": [inventory], "alias": alias}))


def slow_parts(cluster: Cluster, delay: float = 0.6, times: int | None = None) -> None:
    cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=delay, times=times)


def in_the_middle(cluster: Cluster, inventory: Path, alias: str, held: float = 50) -> ReindexRun:
    """A run of which some parts are done, and one waits for the engine until `no_faults`, or for that many seconds."""
    # Ordered before the run begins: a busy machine may not let us look while a part is written.
    slow_parts(cluster, times=2)
    slow_parts(cluster, delay=held, times=1)
    slow_parts(cluster)
    run = begin(cluster, inventory, alias)

    def in_the_third_part(run: ReindexRun) -> bool:
        return bool(run.parts_done and cluster.front.faults()[1]["done"] and run.attempts)

    return reindex_of(cluster.wait(run.id, in_the_third_part, "in the third part"))


def about_to_be_swapped(cluster: Cluster, inventory: Path, alias: str) -> ReindexRun:
    """A run whose swap, before its guard, waits for the engine until `no_faults`."""
    run = in_the_middle(cluster, inventory, alias, held=5)
    # Once the building has begun, it is asked for in the swap alone.
    cluster.front.fault(status=None, match="GET /collections$", delay=50, times=1)
    return reindex_of(
        cluster.wait(
            run.id, lambda run: run.state == "ready" and cluster.front.faults()[3]["done"], "about to be swapped"
        )
    )


def assert_live(cluster: Cluster, run: ReindexRun, expected: Content) -> ReindexRun:
    ended = reindex_of(cluster.wait_over(run.id))
    assert ended.state == "live", f"{ended.error}\n{cluster.logs()}"
    assert cluster.engine.aliases()[run.alias] == run.collection
    assert cluster.engine.count(run.alias) == ROWS
    assert_same(content(cluster.engine, run.collection), expected)
    return ended


def test_workers_build_what_one_process_builds(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.worker("embed", 2)
    ended = assert_live(cluster, begin(cluster, inventory, alias), expected)
    assert ended.executor == "celery"
    assert ended.parts_done == (0, 1, 2, 3, 4, 5)
    assert not ended.attempts
    cluster.wait_free(ended.lease_name)


def test_embed_worker_killed_in_a_part(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.beat()
    worker = cluster.worker("embed")
    run = in_the_middle(cluster, inventory, alias)
    worker.kill()
    cluster.front.no_faults()
    cluster.worker("embed")
    assert 1 <= assert_live(cluster, run, expected).parts_redone <= 2


def test_pool_process_killed_in_a_part(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.beat()
    worker = cluster.worker("embed")
    run = in_the_middle(cluster, inventory, alias)
    worker.kill_children()
    cluster.front.no_faults()
    assert 1 <= assert_live(cluster, run, expected).parts_redone <= 2


def test_control_worker_killed_between_the_last_part_and_the_swap(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("embed"), cluster.beat()
    worker = cluster.worker("control")
    run = about_to_be_swapped(cluster, inventory, alias)
    worker.kill()
    cluster.front.no_faults()
    assert alias not in cluster.engine.aliases()
    cluster.worker("control")
    assert_live(cluster, run, expected)


def test_control_worker_killed_right_after_the_swap(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("embed"), cluster.beat()
    worker = cluster.worker("control")
    cluster.front.fault(status=None, match="POST /collections/aliases", delay_after=50, times=1)
    run = begin(cluster, inventory, alias)
    cluster.wait(run.id, lambda run: cluster.engine.aliases().get(alias) == run.collection, "swapped")
    worker.kill()
    assert cluster.store.load(run.id).state == "ready"
    cluster.worker("control")
    assert_live(cluster, run, expected)


def test_beat_killed_and_a_second_one_beside_it(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("control")
    worker = cluster.worker("embed")
    beat = cluster.beat()
    run = in_the_middle(cluster, inventory, alias)
    beat.kill()
    worker.kill()
    cluster.front.no_faults()
    cluster.worker("embed"), cluster.beat(), cluster.beat(2)
    assert_live(cluster, run, expected)
    cluster.beat(2).stop()


def test_redis_restarted(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    run = in_the_middle(cluster, inventory, alias)
    cluster.redis.kill()
    time.sleep(1)
    cluster.redis.start()
    cluster.front.no_faults()
    assert_live(cluster, run, expected)


def test_redis_emptied(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    run = in_the_middle(cluster, inventory, alias)
    cluster.redis.flush()
    cluster.front.no_faults()
    assert cluster.store.is_lost(run.id)
    shown = cluster.keydistill("runs", "show", run.id)
    assert "lost from Redis" in shown.stdout
    orders.resume(cluster.settings, run.id)
    assert_live(cluster, run, expected)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503, "times": 8}, id="refuses"),
        pytest.param({"status": 503, "every": 3}, id="every-third", marks=pytest.mark.slow),
        pytest.param({"status": 503, "every": 3, "when": "after", "match": "PUT"}, id="lost-answers"),
        pytest.param({"status": None, "delay": 0.2}, id="slow", marks=pytest.mark.slow),
    ],
)
def test_engine_fails(cluster: Cluster, inventory: Path, alias: str, expected: Content, fault: dict[str, Any]) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    run = begin(cluster, inventory, alias)
    cluster.front.fault(**{"match": "/collections/|/aliases", **fault})
    cluster.wait_over(run.id)
    cluster.front.no_faults()
    assert_live(cluster, run, expected)


def test_engine_killed_and_started_again(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    run = in_the_middle(cluster, inventory, alias)
    cluster.front.stop(kill=True)
    time.sleep(2)
    cluster.front.start()
    assert_live(cluster, run, expected)


def test_an_engine_that_is_away_is_no_fault_of_the_work(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    for queue in ("control", "embed"):
        cluster.worker(queue).stop()
    # The functions of the tasks, called as often as retries would.
    process = WorkerProcess(cluster.settings.model_copy(update={"qdrant_retries": 0}))
    run = begin(cluster, inventory, alias)
    sent: list[tuple[object, ...]] = []

    def send(task: str, *arguments: object, queue: str) -> None:
        sent.append((task, *arguments))

    advance(process, run.id, "control", send)
    cluster.front.stop()
    for _ in range(cluster.settings.part_attempts + 2):
        with pytest.raises(EngineUnavailableError):
            embed_part(process, run.id, 0, send)
    cluster.front.start()
    assert not cluster.store.load(run.id).attempts
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    assert_live(cluster, run, expected)


def test_a_part_that_kills_its_worker_fails_the_run_and_nothing_else(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    (cluster.settings.home / "poison").write_text("17")
    run = begin(cluster, inventory, alias)
    ended = cluster.wait_over(run.id)
    assert ended.state == "failed"
    assert "was taken up 3 times and never ended: it kills its worker" in str(ended.error)
    assert alias not in cluster.engine.aliases()
    cluster.wait_free(run.lease_name)
    (cluster.settings.home / "poison").unlink()
    orders.resume(cluster.settings, run.id)
    assert_live(cluster, run, expected)


def test_disk_full_under_the_snapshot(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    (cluster.settings.home / "disk-full").touch()
    run = begin(cluster, inventory, alias)
    ended = cluster.wait_over(run.id)
    assert (ended.state, ended.failed_in) == ("failed", "snapshot")
    assert "is full; free space" in str(ended.error)
    (cluster.settings.home / "disk-full").unlink()
    orders.resume(cluster.settings, run.id)
    assert_live(cluster, run, expected)


def test_every_message_delivered_twice_at_once(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.worker("control", 2), cluster.worker("embed", 2)
    slow_parts(cluster)
    run = begin(cluster, inventory, alias)
    send = sender(cluster.settings)
    send("keydistill.advance", run.id, queue="control")
    cluster.wait(run.id, lambda run: run.state == "building", "building")
    for number in range(6):
        send("keydistill.embed_part", run.id, number, queue="embed")
        send("keydistill.advance", run.id, queue="control")
    cluster.wait(run.id, lambda run: not run.missing_parts, "embedded")
    for queue in ("control", "embed"):
        send("keydistill.advance", run.id, queue=queue)
    assert assert_live(cluster, run, expected).parts_redone == 0


def test_two_reindexes_at_once(cluster: Cluster, inventory: Path, alias: str, expected: Content) -> None:
    cluster.worker("control"), cluster.worker("embed")
    begun: list[ReindexRun] = []
    refused: list[RunBusyError] = []

    def start() -> None:
        try:
            begun.append(begin(cluster, inventory, alias))
        except RunBusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (run,), (error,) = begun, refused
    assert f"run {run.id} is building for alias {alias!r}" in str(error)
    assert_live(cluster, run, expected)
    assert [each.id for each in map(reindex_of, cluster.store.all()) if each.alias == alias] == [run.id]


def test_a_worker_that_slept_through_its_lease_does_not_swap(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("embed"), cluster.beat()
    cluster.worker("control", 2).stop()
    sleeper = cluster.worker("control")
    run = about_to_be_swapped(cluster, inventory, alias)
    sleeper.signal_all(signal.SIGSTOP)
    cluster.front.no_faults()
    cluster.worker("control", 2)
    assert_live(cluster, run, expected)
    later = assert_live(cluster, begin(cluster, inventory, alias), expected)
    sleeper.signal_all(signal.SIGCONT)
    deadline = time.monotonic() + 30
    while "no longer holds the lease" not in sleeper.log.read_text():
        assert time.monotonic() < deadline, cluster.logs()
        time.sleep(0.1)
    assert cluster.engine.aliases()[alias] == later.collection
    assert cluster.store.load(run.id).state == "retired"


def test_everything_ended_in_the_middle_and_started_again(
    cluster: Cluster, inventory: Path, alias: str, expected: Content
) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    # Not longer than workers wait for what they are at when they are asked to end.
    run = in_the_middle(cluster, inventory, alias, held=4)
    cluster.terminate_members()
    cluster.front.no_faults()
    assert cluster.store.load(run.id).state == "building"
    cluster.worker("control"), cluster.worker("embed"), cluster.beat()
    assert_live(cluster, run, expected)


def sync_order(tmp_path: Path, alias: str) -> SyncOrder:
    """Fewer of the old keyphrases, and some new ones."""
    lines = write_inventory(tmp_path / "whole.csv", ROWS + 20).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "new.csv").write_text("".join([lines[0], *lines[11:]]), encoding="utf-8")
    return SyncOrder.of({"files": [tmp_path / "new.csv"], "alias": alias})


def assert_synced(cluster: Cluster, run_id: str, alias: str) -> SyncRun:
    ended = sync_of(cluster.wait_over(run_id))
    assert ended.state == "done", f"{ended.error}\n{cluster.logs()}"
    phrases = {record.payload["keyphrase"] for record in cluster.engine.scroll(alias)}
    assert len(phrases) == cluster.engine.count(alias) == ROWS + 10
    assert sum(phrase.endswith(tuple(f" {row}" for row in range(ROWS, ROWS + 20))) for phrase in phrases) == 20
    assert "applying" not in cluster.engine.info(cluster.engine.aliases()[alias]).metadata
    return ended


@pytest.mark.parametrize("killed", ["embed", "control"])
def test_worker_killed_in_a_sync(
    cluster: Cluster, inventory: Path, alias: str, expected: Content, tmp_path: Path, killed: str
) -> None:
    workers = {queue: cluster.worker(queue) for queue in ("control", "embed")}
    cluster.beat()
    assert_live(cluster, begin(cluster, inventory, alias), expected)
    cluster.front.fault(status=None, match="PUT /collections/[^/]*/points", delay=1.0)
    sync = orders.order_sync(cluster.settings, sync_order(tmp_path, alias))
    state = "applying" if killed == "embed" else "snapshot"
    cluster.wait(sync.id, lambda run: run.state in (state, "applying"), state)
    workers[killed].kill()
    cluster.front.no_faults()
    cluster.worker(killed)
    assert_synced(cluster, sync.id, alias)


def test_a_sync_while_a_rebuild_goes_on(
    cluster: Cluster, inventory: Path, alias: str, expected: Content, tmp_path: Path
) -> None:
    cluster.worker("control"), cluster.worker("embed"), cluster.worker("embed", 2), cluster.beat()
    assert_live(cluster, begin(cluster, inventory, alias), expected)
    rebuild = in_the_middle(cluster, inventory, alias)
    sync = orders.order_sync(cluster.settings, sync_order(tmp_path, alias))
    with pytest.raises(RunBusyError, match=f"run {sync.id}"):
        orders.order_sync(cluster.settings, sync_order(tmp_path, alias))
    assert_synced(cluster, sync.id, alias)
    cluster.front.no_faults()
    assert cluster.wait_over(rebuild.id).state == "live"
    assert cluster.engine.aliases()[alias] == rebuild.collection
    # What was accepted while it was built is in the new collection too.
    assert_synced(cluster, sync.id, alias)
