"""`keydistill status` shows every run that is not over: whoever is not told of a run does not resume it."""

import dataclasses
import json
from pathlib import Path

import pytest

from keydistill.execution import schedule_problems
from keydistill.runs import MOVES, Kind, Run, RunStore, State, open_states, open_store, working_states
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

    for state in set(MOVES[kind]) - open_states(kind):
        add(dataclasses.replace(NEW_RUNS[kind](), state=state))
    at_work = [add(dataclasses.replace(NEW_RUNS[kind](), state=state)) for state in working_states(kind)]
    failed = [add(dataclasses.replace(NEW_RUNS[kind](), state=run.state).failed("it broke")) for run in at_work]
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


@pytest.mark.parametrize("kind", sorted(MOVES))
def test_a_failure_that_a_later_success_made_moot_is_not_unfinished(
    keydistill: Command, store: RunStore, kind: Kind
) -> None:
    failed = store.add(dataclasses.replace(NEW_RUNS[kind](), created_at="2026-01-01T00:00:00+00:00").failed("it broke"))
    assert unfinished(keydistill) == {failed.id}
    assert keydistill("status").status == 3
    success: State = "live" if kind == "reindex" else "done"
    store.add(dataclasses.replace(NEW_RUNS[kind](), state=success))
    assert unfinished(keydistill) == set()
    assert keydistill("status").status == 0


def test_schedules_that_cannot_start_anything(tmp_path: Path) -> None:
    file = tmp_path / "there.csv"
    file.touch()
    schedules = {
        name: {"cron": "0 3 * * *", "task": task, "kwargs": kwargs}
        for name, task, kwargs in [
            ("right", "sync", {"files": [str(file)]}),
            ("misspelt", "sync", {"file": [str(file)]}),
            ("gone", "reindex", {"files": [str(tmp_path / "gone.csv")]}),
            ("no-number", "prune", {"keep": "some"}),
        ]
    }
    settings = load_settings(schedules=schedules)
    problems = schedule_problems(settings)
    assert set(problems) == {"misspelt", "gone", "no-number"}
    assert "there is no" in problems["gone"]
    assert set(schedule_problems(settings, with_paths=False)) == {"misspelt", "no-number"}


@pytest.mark.parametrize("category", [">", "a > > b", "a\x1bb"])
def test_search_refuses_a_category_that_is_none(live: Command, category: str) -> None:
    result = live("search", "shoe", "--category", category)
    assert result.status == 1
    assert result.err.startswith("error: --category")
    assert len(result.err.splitlines()) == 1
    assert "\x1b" not in result.err
