"""Traces cost nothing where they are off, and hold up nothing where their collector is away."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keydistill import telemetry
from keydistill.settings import load_settings
from tests.support.collector import Collector
from tests.support.places import ROOT
from tests.support.ports import free_port

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        telemetry.begin_traces(load_settings(otlp_endpoint=running.url), "test")
        try:
            yield running
        finally:
            telemetry.end_traces()


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_off_they_import_nothing_and_do_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom keydistill.cli.main import cli\n"
        f"cli.main(['--home', {str(tmp_path)!r}, 'runs', 'list'], standalone_mode=False)\n"
        "sys.exit(any(name.partition('.')[0] == 'opentelemetry' for name in sys.modules))"
    )
    ended = python(code)
    assert ended.returncode == 0, ended.stderr
    with telemetry.span("x", parent=PARENT) as late:
        late["y"] = 1
        telemetry.past_span("z", time.monotonic(), 1.0)
        assert telemetry.carried() is None


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['opentelemetry'] = None\n"
        f"sys.argv = ['keydistill', '--home', {str(tmp_path)!r}, 'runs', 'list']\n"
        "from keydistill.cli.main import main\nmain()"
    )
    ended = python(code, KEYDISTILL_OTLP_ENDPOINT="http://ann:hush@localhost:4318")
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: otlp_endpoint is http://localhost:4318, and OpenTelemetry is not installed: "
        "pip install 'keydistill[otel]', or unset it\n"
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_collector_that_is_away_is_said_once_and_fails_nothing(tmp_path: Path, form: str) -> None:
    code = (
        "from keydistill import telemetry\nfrom keydistill.settings import load_settings\n"
        "telemetry.configure_logs()\n"
        "telemetry.begin_traces(load_settings(), 'test')\n"
        "for number in range(1_000):\n    with telemetry.span('x'): pass\n"
        "telemetry.end_traces()\n"
    )
    address = f"http://127.0.0.1:{free_port()}"
    ended = python(code, KEYDISTILL_OTLP_ENDPOINT=address, KEYDISTILL_LOG_FORMAT=form)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert f"traces cannot be sent to {address}; they are lost until they can" in ended.stderr


def test_a_span_goes_on_with_a_trace_from_elsewhere_and_children_with_it(collector: Collector) -> None:
    with telemetry.span("order", parent=PARENT, run_id="r1", part=None):
        carried = telemetry.carried()
        assert carried is not None
        assert carried.split("-")[1] == PARENT.split("-")[1]
        telemetry.past_span("waited", time.monotonic() - 2, 1.5)
        with telemetry.span("inner", parent=PARENT):
            pass
    with pytest.raises(ValueError, match="a title"), telemetry.span("failing"):
        raise ValueError("a title")
    telemetry.end_traces()
    spans = {span.name: span for span in collector.spans}
    assert spans["order"].parent_id == PARENT.split("-")[2]
    assert spans["order"].attributes == {"keydistill.run_id": "r1"}
    assert spans["inner"].parent_id == spans["waited"].parent_id == spans["order"].span_id
    assert spans["waited"].seconds == pytest.approx(1.5)
    assert spans["failing"].trace_id != spans["order"].trace_id
    assert spans["failing"].attributes == {}


def test_what_is_no_traceparent_begins_a_trace_of_its_own(collector: Collector) -> None:
    for number, nasty in enumerate(["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", PARENT[:-4], "\ud800"]):
        with telemetry.span(f"x{number}", parent=nasty):
            pass
    telemetry.end_traces()
    assert len({span.trace_id for span in collector.spans}) == 5
    assert all(not span.parent_id for span in collector.spans)


def test_two_trainings_of_one_seed_have_spans_of_their_own(collector: Collector) -> None:
    for _ in range(2):
        random.seed(0)
        with telemetry.span("train"):
            pass
    telemetry.end_traces()
    spans = collector.spans
    assert len({span.span_id for span in spans}) == len({span.trace_id for span in spans}) == 2
