"""What operators are told of workers and of runs that wait for them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keydistill.execution import finding_of_sign, findings, waiting_reason, worker_missing
from keydistill.runs import SILENT_SECONDS, Sign, open_shared_store, open_signs
from keydistill.settings import Settings, load_settings
from tests.runs.records import reindex_run
from tests.support.redis_server import RedisServer


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with RedisServer(tmp_path / "redis") as server:
        yield load_settings(home=tmp_path / "home", redis_url=server.url)


def test_a_run_that_waits_says_why(settings: Settings) -> None:
    store, signs = open_shared_store(settings), open_signs(settings)
    run = store.add(reindex_run().changed(executor="celery"))
    assert "no worker of queue control shows a sign of life" in str(worker_missing(settings, run))
    signs.give(Sign.of("embed@here", ["embed"]))
    assert "-Q control" in str(waiting_reason(settings, run))
    (finding,) = findings(settings, store, signs.all())
    assert (finding.severity, finding.run) == ("warning", run.id)
    signs.give(Sign.of("control@here", ["control"]))
    assert worker_missing(settings, run) is None
    assert waiting_reason(settings, run) is None
    assert findings(settings, store, signs.all()) == []
    signs.note_trouble(run.id, "Qdrant is away")
    assert waiting_reason(settings, run) == "Qdrant is away; it is tried again"


def test_a_worker_is_missed_unless_it_was_told_to_end(settings: Settings) -> None:
    signs = open_signs(settings)
    signs.give(Sign(name="dead@here", queues=["judge"], at=time.time() - SILENT_SECONDS - 1, stopped=[]))
    signs.give(Sign.of("stuck@here", ["judge"], [7]))
    signs.give(Sign.of("well@here", ["judge"]))
    signs.give(Sign(name="forgotten@here", queues=["judge"], at=time.time() - 90_000, stopped=[]))
    told = {sign.name: finding_of_sign(sign) for sign in signs.all()}
    assert set(told) == {"dead@here", "stuck@here", "well@here"}
    assert "last sign of life 31 s ago" in str(told["dead@here"])
    assert "processes 7 of its pool are stopped" in str(told["stuck@here"])
    assert told["well@here"] is None
    signs.take_back("dead@here")
    assert "dead@here" not in {sign.name for sign in signs.all()}
