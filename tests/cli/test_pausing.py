"""`keydistill runs pause` and `resume`, and where a pause is seen."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keydistill.runs import Pause, Run, open_store
from keydistill.settings import load_settings
from tests.cli.conftest import Command
from tests.runs.records import NEW_RUNS

PAUSED = "paused since 2026-01-02T00:00:00+00:00 by ann@host"


@pytest.mark.parametrize("kind", ["reindex", "sync"])
def test_a_run_is_paused_and_resumed(keydistill: Command, tmp_path: Path, kind: str) -> None:
    store = open_store(load_settings(home=tmp_path / "home"))
    new_run: Callable[[], Run] = NEW_RUNS[kind]  # type: ignore[index]
    run = store.add(new_run())
    assert "would be paused; dry run: nothing was changed" in keydistill("runs", "pause", run.id, "--dry-run").out
    assert store.load(run.id) == run
    assert keydistill("runs", "pause", run.id[:-2]).out == (
        f"run {run.id} stops at its next part or step and keeps its place; `keydistill runs resume {run.id}` lets it "
        "go on\n"
    )
    store.update(run.id, lambda now: replace(now, paused=Pause("2026-01-02T00:00:00+00:00", "ann@host")))
    again = keydistill("runs", "pause", run.id)
    assert (again.status, again.err.startswith(f"error: run {run.id} is {PAUSED} already;")) == (1, True)
    assert f"  planned, {PAUSED}  " in keydistill("runs", "list").out
    shown = keydistill("runs", "show", run.id).out
    assert f"paused       {PAUSED}; `keydistill runs resume {run.id}` lets it go on\n" in shown
    assert "go on with" not in shown
    assert json.loads(keydistill("runs", "show", run.id, "--json").out)["paused"]["by"] == "ann@host"
    status = keydistill("status")
    assert status.status == 0
    assert f"unfinished     {run.id}: {kind}, planned, {PAUSED}\n" in status.out
    assert json.loads(keydistill("status", "--json").out)["paused_runs"] == {
        run.id: {"since": "2026-01-02T00:00:00+00:00", "by": "ann@host"}
    }
    refused = keydistill(kind, "--resume", run.id)
    assert (refused.status, f"{PAUSED}; `keydistill runs resume {run.id}` lets it go on" in refused.err) == (1, True)
    assert f"{PAUSED} and would go on; dry run" in keydistill("runs", "resume", run.id, "--dry-run").out
    # Its process is gone.
    assert keydistill("runs", "resume", run.id).out == (
        f"run {run.id} is paused no longer; go on with `keydistill {kind} --resume {run.id}`\n"
    )
    assert keydistill("status").status == 3
    with store.lease(run.lease_name, run.id):
        keydistill("runs", "pause", run.id)
        assert "goes on; follow it with" in keydistill("runs", "resume", run.id).out


def test_a_watched_run_that_is_paused_says_so(keydistill: Command, tmp_path: Path) -> None:
    from keydistill.cli.follow import _position

    run = replace(NEW_RUNS["sync"](), paused=Pause("2026-01-02T00:00:00+00:00", "ann@host"))
    assert _position(run) == (PAUSED, None, "", 0)
