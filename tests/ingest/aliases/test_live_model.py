"""Random sequences of all that may happen to an alias, on both engines, against a model of what should be live."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from qdrant_edge import EdgeShard

import keydistill.ingest.gate.measures
import keydistill.vectorstore.edge.engine
import keydistill.vectorstore.server.consensus
import keydistill.vectorstore.server.wait
from tests.support import stub_students
from tests.support.front_process import FrontProcess
from tests.support.kills import Kills
from tests.support.lagging_machine import LaggingMachine
from tests.support.live_bench import World
from tests.support.live_mishaps import MishapMachine
from tests.support.live_model import write_inventories
from tests.support.redis_server import RedisServer

# Always the same sequences, so that a change that breaks nothing cannot fail here; the long test looks for new ones.
_QUICK = settings(
    max_examples=8,
    stateful_step_count=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
_FEW = settings(_QUICK, max_examples=1, stateful_step_count=8)
_LONG = settings(
    _QUICK,
    max_examples=int(os.environ.get("KEYDISTILL_TEST_EXAMPLES", "400")),
    stateful_step_count=25,
    derandomize=False,
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front"), "--optimize-delay", "0") as process:
        yield process


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    options = ("--optimize-delay", "0", "--nodes", "3", "--lag", "0.02")
    with FrontProcess(tmp_path_factory.mktemp("cluster"), *options) as process:
        yield process


@pytest.fixture(params=["embedded", "server", "cluster"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[MishapMachine]:
    stub_students.install(monkeypatch)
    # In this process: thirty points are optimised in less time than a process takes to start.
    monkeypatch.setattr(keydistill.vectorstore.edge.engine, "optimize_in_child", _optimize)
    monkeypatch.setattr(keydistill.vectorstore.server.wait, "_FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(keydistill.ingest.gate.measures, "_REPEATS", 1)
    # Processes die here, machines do not.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    front = {"embedded": None, "server": "front", "cluster": "cluster"}[request.param]
    process = None if front is None else request.getfixturevalue(front)
    url = None if process is None else process.url
    redis = None if process is None else request.getfixturevalue("redis_server")
    world = World(tmp_path, write_inventories(tmp_path), Kills(monkeypatch), url, redis)
    if request.param == "cluster":
        monkeypatch.setattr(keydistill.vectorstore.server.consensus, "_PAUSE_SECONDS", 0.005)
        return type("Machine", (LaggingMachine,), {"world": world, "front": process})
    return type("Machine", (MishapMachine,), {"world": world})


def _optimize(folder: Path) -> None:
    shard = EdgeShard.load(str(folder))
    shard.optimize()
    shard.flush()
    shard.close()


def test_whatever_happens_in_whatever_order(machine: type[MishapMachine]) -> None:
    # Every read that something is decided on is made nine times in a cluster.
    few = _FEW if issubclass(machine, LaggingMachine) else _QUICK
    run_state_machine_as_test(machine, settings=few)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_whatever_happens_for_long(machine: type[MishapMachine]) -> None:
    run_state_machine_as_test(machine, settings=_LONG)
