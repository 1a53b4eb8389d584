"""`keydistill gate`, and overruling it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.fixture
def refused(live: Command, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run that the gate refused."""
    monkeypatch.setenv("KEYDISTILL_GATE_MIN_COVERAGE", "2")
    result = live("reindex", inventory)
    assert result.status == 1
    assert len(result.err.splitlines()) == 1
    assert "the gate refused collection" in result.err
    assert ": different keyphrases; the alias was not touched; see `keydistill gate " in result.err
    # Of two runs of one second either may be first.
    (run,) = [run for run in json.loads(live("runs", "list", "--json").out) if run["state"] == "failed"]
    return str(run["id"])


def test_what_was_let_through_is_shown(live: Command) -> None:
    (run,) = json.loads(live("runs", "list", "--json").out)
    result = live("gate", run["id"])
    assert result.status == 0
    assert "gate         passed" in result.out
    assert "nothing is live: thresholds of a first build" in result.out
    (row,) = [line for line in result.out.splitlines() if line.startswith("recall@10, site and category")]
    assert row.split()[-5:] == ["1.000", "-", ">=", "0.950", "pass"]
    shown = json.loads(live("gate", run["id"], "--json").out)
    assert shown == {"run": run["id"], "forced": None, **run["gate"]}
    assert f"passed; see keydistill gate {run['id']}" in live("runs", "show", run["id"]).out


def test_a_refusal_is_shown_and_overruled_with_a_reason(live: Command, refused: str) -> None:
    result = live("gate", refused)
    assert result.status == 1
    assert "gate         refused: different keyphrases" in result.out
    assert json.loads(live("gate", refused, "--json").out)["verdict"] == "refused"
    result = live("collections", "swap", refused, "--force")
    assert result.status == 1
    assert result.err == f"error: run {refused} can be forced only for a reason, which is kept; give --why REASON\n"
    assert live("collections", "swap", refused, "--force", "--why", "meant so").status == 0
    assert "forced       meant so" in live("gate", refused).out
    history = json.loads(live("collections", "history", "--json").out)
    assert (history[0]["action"], history[0]["why"], history[0]["run"]) == ("swap", "meant so", refused)


def test_only_a_reindex_has_a_gate(live: Command, inventory: Path) -> None:
    inventory.write_text(inventory.read_text() + "drill bits,,7,US\n")
    assert live("sync", inventory).status == 0
    (sync,) = [run for run in json.loads(live("runs", "list", "--json").out) if run["kind"] == "sync"]
    result = live("gate", sync["id"])
    assert result.status == 1
    assert "is a sync, and only a reindex goes through the gate" in result.err


def test_a_run_that_was_not_before_the_gate_says_so(keydistill: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text('keyphrase\n"\x01"\n', encoding="utf-8")
    assert keydistill("reindex", bad).status == 1
    (run,) = json.loads(keydistill("runs", "list", "--json").out)
    result = keydistill("gate", run["id"])
    assert result.status == 1
    assert result.err == (
        f"error: run {run['id']} is failed and was not before the gate yet; see `keydistill runs show {run['id']}`\n"
    )
