"""Logs and traces of a run that is ordered by a command and carried out by workers, each a process of its own."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.runs import reindex_of
from tests.support.cluster import Cluster
from tests.support.collector import CollectedSpan, Collector
from tests.support.inventories import write_inventory
from tests.workers.conftest import PART_ROWS, ROWS

FIELDS = {"timestamp", "level", "logger", "message"}
SECRET = "hush-hush-key"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, collector: Collector) -> Iterator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("cluster"),
        tiny_folder,
        part_rows=PART_ROWS,
        log_format="json",
        otlp_endpoint=collector.url,
        judge_api_key=SECRET,
    ) as running:
        running.environment["KEYDISTILL_SCHEDULES"] = json.dumps({"minutely": {"cron": "* * * * *", "task": "prune"}})
        yield running


def lines_of(text: str) -> list[dict[str, Any]]:
    """The objects of a log, each of which has what all have."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    for line in lines:
        assert set(line) >= FIELDS
        assert line["message"].isprintable()
    return lines


def of_trace(spans: list[CollectedSpan], trace_id: str) -> list[CollectedSpan]:
    return [span for span in spans if span.trace_id == trace_id]


def test_one_trace_from_the_order_to_the_swap_and_json_everywhere(
    cluster: Cluster, collector: Collector, inventory: Path
) -> None:
    cluster.worker("control")
    cluster.worker("embed")
    cluster.beat()
    ended = cluster.keydistill("reindex", inventory)
    assert ended.returncode == 0, ended.stderr + cluster.logs()
    (run,) = cluster.store.all()
    assert reindex_of(run).state == "live"
    assert run.trace is not None
    trace_id = run.trace.split("-")[1]

    # The command.
    of_command = lines_of(ended.stderr)
    assert {line["run_id"] for line in of_command if line["message"].startswith("step ")} == {run.id}
    assert any(line.get("step") == "live" for line in of_command)

    # They come in batches of several processes.
    expected = {
        "order reindex",
        "advance reindex",
        "snapshot",
        "embed part",
        "verifying",
        "gating",
        "swap",
        "move alias",
    }
    collected = collector.wait(lambda spans: expected <= {span.name for span in of_trace(spans, trace_id)})
    spans = of_trace(collected, trace_id)
    assert {span.attributes["keydistill.part"] for span in spans if span.name == "embed part"} == set(
        range(ROWS // PART_ROWS)
    )
    assert {span.service for span in spans} == {"keydistill-cli", "keydistill-worker"}
    assert len({span.pid for span in spans}) == 3
    roots = [span for span in spans if not span.parent_id]
    assert [span.name for span in roots] == ["order reindex"]
    ids = {span.span_id for span in spans}
    assert all(span.parent_id in ids for span in spans if span is not roots[0])
    # No texts and no secrets.
    shown = json.dumps([span.attributes for span in spans])
    assert SECRET not in shown
    assert "inventory.csv" not in shown

    # Workers and beat, with the lines that are Celery's own.
    cluster.terminate_members()
    logs = {file.stem: file.read_text() for file in cluster.folder.glob("*.log")}
    assert set(logs) == {"control1", "embed1", "beat1"}
    lines = {name: lines_of(text) for name, text in logs.items()}
    assert any(line["logger"] == "celery.beat" for line in lines["beat1"])
    of_celery = [line for line in lines["embed1"] if line["logger"] == "celery.app.trace"]
    assert any("succeeded" in line["message"] and line.get("run_id") == run.id for line in of_celery)
    parts = [line for line in lines["embed1"] if line["message"].startswith(f"part 0 of run {run.id} is done")]
    assert [(line["run_id"], line["part"]) for line in parts] == [(run.id, 0)]
    assert all(SECRET not in text and "Traceback" not in text for text in logs.values())

    # Redis' log of writes has every message and record that there ever was.
    written = b"".join(file.read_bytes() for file in (cluster.folder / "redis").rglob("*.aof"))
    assert run.id.encode() in written
    assert SECRET.encode() not in written


def test_a_failure_is_one_line_with_its_run_and_trace_and_a_resumed_run_goes_on_with_it(
    cluster: Cluster, collector: Collector, tmp_path: Path
) -> None:
    cluster.worker("control")
    # For the next test: a schedule fires once a minute.
    cluster.beat()
    inventory = write_inventory(tmp_path / "inventory.csv", 2 * PART_ROWS)
    (cluster.folder / "home" / "disk-full").touch()
    try:
        ended = cluster.keydistill("reindex", inventory)
    finally:
        (cluster.folder / "home" / "disk-full").unlink()
    assert ended.returncode == 1
    lines_of(ended.stderr)
    failed = next(run for run in cluster.store.all() if run.state == "failed")
    lines = lines_of((cluster.folder / "control1.log").read_text())
    (line,) = [line for line in lines if line["message"] == f"run {failed.id} failed"]
    assert line["level"] == "error"
    assert (line["run_id"], line["alias"]) == (failed.id, "keyphrases")
    assert failed.trace is not None
    assert line["trace_id"] == failed.trace.split("-")[1]
    assert "is full; free space and run again" in line["traceback"]

    # Resumed by another process, it goes on with the trace that it began with.
    cluster.worker("embed")
    resumed = cluster.keydistill("reindex", "--resume", failed.id)
    assert resumed.returncode == 0, resumed.stderr + cluster.logs()
    trace_id = failed.trace.split("-")[1]
    names = {"order reindex", "resume reindex", "swap"}
    collector.wait(lambda spans: names <= {span.name for span in of_trace(spans, trace_id)})


def test_what_a_schedule_starts_has_the_trace_of_the_beat(cluster: Cluster, collector: Collector) -> None:
    cluster.beat()
    cluster.worker("control")
    deadline = time.monotonic() + 90
    while not any(span.name == "keydistill.fire" for span in collector.spans):
        assert time.monotonic() < deadline, cluster.logs()
        time.sleep(0.1)
    fired = next(span for span in collector.spans if span.name == "keydistill.fire")
    sent = collector.wait(lambda spans: any(span.span_id == fired.parent_id for span in spans))
    (of_beat,) = [span for span in sent if span.span_id == fired.parent_id]
    assert (of_beat.name, of_beat.service) == ("schedule minutely", "keydistill-beat")
    assert of_beat.trace_id == fired.trace_id
