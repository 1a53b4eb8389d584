"""What Redis did, and nobody heard of: a command is repeated when its answer got lost, and must not be done twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keydistill.runs import Run
from keydistill.runs.redis_store import RedisRunStore
from tests.runs.records import reindex_run
from tests.support.losing_proxy import LosingProxy
from tests.support.redis_server import RedisServer, address_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[LosingProxy]:
    with LosingProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: LosingProxy, tmp_path: Path) -> RedisRunStore:
    return RedisRunStore(address_of(f"redis://127.0.0.1:{proxy.port}/0"), tmp_path)


def test_a_run_is_added_once(store: RedisRunStore, proxy: LosingProxy) -> None:
    run = reindex_run()
    proxy.lose_answer(b"EXEC")
    assert store.add(run) == run
    assert proxy.lost == 1
    assert store.load(run.id) == run


def test_a_move_is_made_once(store: RedisRunStore, proxy: LosingProxy) -> None:
    run = store.add(reindex_run())
    proxy.lose_answer(b"EXEC")
    assert store.update(run.id, lambda now: now.moved("snapshot").timed("planned", 1)).state == "snapshot"
    assert proxy.lost == 1
    assert store.load(run.id).timings == {"planned": 1}


def test_a_move_under_a_lease_is_made_once(store: RedisRunStore, proxy: LosingProxy) -> None:
    run = store.add(reindex_run())
    with store.lease(run.lease_name, run.id) as lease:
        proxy.lose_answer(b"EXEC")
        assert store.update(run.id, lambda now: now.attempted("x"), lease).attempts == {"x": 1}
    assert proxy.lost == 1


def test_an_equal_change_of_somebody_else_is_not_taken_for_ours(
    store: RedisRunStore, proxy: LosingProxy, server: RedisServer, tmp_path: Path
) -> None:
    run = store.add(reindex_run())
    other = RedisRunStore(address_of(server.url), tmp_path)

    def change(now: Run) -> Run:
        if not other.load(run.id).attempts:
            other.update(run.id, lambda now: now.attempted("x"))
        return now.attempted("x")

    assert store.update(run.id, change).attempts == {"x": 2}


def test_a_lease_is_ours_when_the_answer_got_lost(store: RedisRunStore, proxy: LosingProxy) -> None:
    store.acquire("warm up", "one").release()
    proxy.lose_answer(b"EVALSHA")
    lease = store.acquire("build:keyphrases", "one")
    assert proxy.lost == 1
    lease.check()
    proxy.lose_answer(b"EVALSHA")
    lease.release()
    assert proxy.lost == 2
    assert store.holder("build:keyphrases") is None
