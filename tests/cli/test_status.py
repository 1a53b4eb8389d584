"""`keydistill status` shows every run that is not over: whoever is not told of a run does not resume it."""

import dataclasses
import json
from pathlib import Path

import pytest

from keydistill.runs import MOVES, Kind, Run, RunStore, open_states, open_store, working_states
from keydistill.settings import load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.cli.conftest import Command
from tests.runs.records import NEW_RUNS


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return open_store(load_settings(home=tmp_path / "home"))


def unfinished(keydistill: Command) -> set[str]:
    return set(json.loads(keydistill("status", "--json").out)["unfinished_runs"])


@pytest.mark.parametrize("kind", sorted(MOVES))
def test_every_run_that_is_not_over_is_shown_and_can_be_resumed(
    keydistill: Command, store: RunStore, kind: Kind
) -> None:
    def add(run: Run) -> Run:
        return store.add(run)

    at_work = [add(dataclasses.replace(NEW_RUNS[kind](), state=state)) for state in working_states(kind)]
    failed = [add(dataclasses.replace(NEW_RUNS[kind](), state=run.state).failed("it broke")) for run in at_work]
    for state in set(MOVES[kind]) - open_states(kind):
        add(dataclasses.replace(NEW_RUNS[kind](), state=state))
    assert unfinished(keydistill) == {run.id for run in (*at_work, *failed)}
    for run in at_work:
        assert store.load(run.id).reopened().state == run.state
    for run in failed:
        assert store.load(run.id).reopened().state == run.failed_in
    lines = keydistill("status").out.splitlines()
    for run in (*at_work, *failed):
        (line,) = [line for line in lines if run.id in line]
        assert line.startswith(f"unfinished     {run.id}: {kind}, {run.state}")


def test_a_run_that_was_killed_before_its_swap_is_shown_and_resumed(
    keydistill: Command, inventory: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedEngine, "swap_alias", killed)
        assert keydistill("reindex", inventory).status == 130
    (run,) = store.all()
    assert run.state == "ready"
    assert unfinished(keydistill) == {run.id}
    assert keydistill("reindex", "--resume", run.id).status == 0
    assert store.load(run.id).state == "live"
    assert unfinished(keydistill) == set()


def test_a_run_that_is_not_to_be_swapped_is_no_unfinished_one(
    keydistill: Command, inventory: Path, store: RunStore
) -> None:
    assert keydistill("reindex", inventory, "--no-swap").status == 0
    (run,) = store.all()
    assert run.state == "ready"
    assert unfinished(keydistill) == set()
