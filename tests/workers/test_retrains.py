"""A retrain by workers: its stages in child processes, whatever is killed."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.distillation.registry import Registry
from keydistill.distillation.retrain import STAGES
from keydistill.errors import InputError, RunBusyError, SettingsError, TrainingError
from keydistill.execution import RetrainOrder
from keydistill.runs import RetrainRun, retrain_of
from tests.support.cluster import Cluster
from tests.support.collector import Collector
from tests.support.retrains import small_market
from tests.workers import orders


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_market(tmp_path_factory.mktemp("market") / "market")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def traced(tmp_path: Path, tiny_folder: Path, collector: Collector) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster", tiny_folder, otlp_endpoint=collector.url, judge_api_key=SECRET) as running:
        yield running


SECRET = "hush-hush-key"


def order(market: Path, **values: Any) -> RetrainOrder:
    small = {"judged_pairs": 150, "assistant_size": "bert-mini", "assistant_epochs": 0.2, "epochs": 0.05, "layers": 1}
    trusted = {"trust_assistant": "a fifth of an epoch teaches nothing"}
    return RetrainOrder.of({"signals": market, "simulation": market, **small, **trusted, **values})


def child_of(cluster: Cluster, run: RetrainRun) -> int:
    """The process that trains, found by its command line."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"keydistill.execution.retrain_child\0{run.id}".encode() in process.read_bytes():
                return int(process.parent.name)
        except OSError:
            continue
    return 0


@pytest.mark.slow
def test_a_retrain_that_is_killed_again_and_again(traced: Cluster, collector: Collector, market: Path) -> None:
    """The child, the train worker and the judge worker are killed, a second order is refused; it ends all the same."""
    cluster = traced
    train, _, _ = cluster.worker("train"), cluster.worker("control"), cluster.beat()
    judge = cluster.worker("judge")
    run = orders.order_retrain(cluster.settings, order(market, promote=True))
    with pytest.raises(RunBusyError, match=f"run {run.id} holds 'retrain'"):
        orders.order_retrain(cluster.settings, order(market))
    cluster.wait(run.id, lambda run: "mine" in run.stages_done, "mined", 120)
    judge.kill()
    cluster.worker("judge")
    cluster.wait(run.id, lambda run: "judge" in run.stages_done, "judged", 120)
    deadline = time.monotonic() + 60
    while not (child := child_of(cluster, run)):
        assert time.monotonic() < deadline, cluster.logs()
        time.sleep(0.05)
    # Others on the machine may read the list of processes.
    assert SECRET.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
    os.kill(child, signal.SIGKILL)
    cluster.wait(run.id, lambda run: "score" in run.stages_done, "scored", 180)
    train.kill()
    cluster.worker("train")
    ended = retrain_of(cluster.wait_over(run.id, 240))
    assert ended.state == "done", f"{ended.error}\n{cluster.logs()}"
    assert ended.stages_done == STAGES
    assert set(ended.results) == set(STAGES)
    registry = Registry.of(cluster.settings)
    assert registry.promoted_name("student") == str(ended.student).partition("/")[2]
    assert (Path(ended.report or "") / "index.html").is_file()
    cluster.wait_free("retrain")
    shown = cluster.keydistill("runs", "show", run.id)
    assert f"student      {ended.student}" in shown.stdout
    # One trace across messages and processes; of one that was killed the last second is lost.
    assert ended.trace is not None
    begun = ended.trace.split("-")[1]
    kept = {f"stage {stage}" for stage in STAGES} - {"stage assistant", "stage score"}
    collector.wait(lambda spans: kept <= {span.name for span in spans if span.trace_id == begun})
    spans = [span for span in collector.spans if span.name.startswith("stage ")]
    assert {(span.service, span.trace_id) for span in spans} == {("keydistill-retrain", begun)}
    assert len({span.pid for span in spans}) >= 4
    workers = {span.name for span in collector.spans if span.service == "keydistill-worker" and span.trace_id == begun}
    assert workers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"signals": "/not/there"}, "/not/there is no folder"),
        ({"epochs": 0}, "retrain, 'epochs'"),
        ({"distillation_loss": "hinge"}, "retrain, 'distillation_loss'"),
        ({"colour": 1}, "retrain, 'colour': Extra inputs are not permitted; it takes signals, judgments, inventory"),
        ({"simulation": "/not/there"}, "/not/there is not there"),
        ({"simulation": None, "endpoint": "http://host/v1"}, "the judge has no model"),
        ({"assistant_size": "huge"}, "huge"),
    ],
)
def test_bad_orders(cluster: Cluster, market: Path, values: dict[str, Any], said: str) -> None:
    before = len(cluster.store.all())
    with pytest.raises((InputError, SettingsError, TrainingError), match=said) as caught:
        orders.order_retrain(cluster.settings, order(market, **values))
    assert "\n" not in str(caught.value)
    assert len(cluster.store.all()) == before
