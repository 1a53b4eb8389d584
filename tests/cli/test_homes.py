"""A home that was mistyped is said and not made; one that is half restored takes no new run."""

import json
from pathlib import Path

import pytest

from keydistill.runs import RESTORE_MARK
from tests.cli.conftest import Command

READING = [
    "status",
    "doctor",
    "runs list",
    "runs show 2020",
    "collections list",
    "runs watch 2020",
    "runs prune",
    "runs cancel 2020",
    "collections history",
    "collections rollback",
    "collections prune --dry-run",
    "models list",
    "models show promoted",
    "search shoes",
    "recommend ITEMS --out OUT",
    "tune",
    "gate 2020",
    "backup BACKUP",
]


@pytest.mark.parametrize("reading", READING)
def test_a_command_that_reads_makes_no_home(keydistill: Command, tmp_path: Path, reading: str) -> None:
    mistyped = tmp_path / "hoem"
    paths = {name: tmp_path / name.lower() for name in ("BACKUP", "ITEMS", "OUT")}
    paths["ITEMS"].write_text("item_id,title\n1,shoes\n")
    result = keydistill("--home", mistyped, *(paths.get(word, word) for word in reading.split()))
    assert result.status != 0
    assert f"there is nothing at {mistyped}" in result.out + result.err
    assert not mistyped.exists()
    assert not (tmp_path / "backup").exists()


def test_the_doctor_says_it_to_programs(keydistill: Command, tmp_path: Path) -> None:
    result = keydistill("--home", tmp_path / "hoem", "doctor", "--json")
    assert result.status == 4
    (finding,) = json.loads(result.out)
    assert (finding["check"], finding["severity"]) == ("home", "error")


@pytest.mark.parametrize("command", [["reindex"], ["sync"]], ids=" ".join)
def test_a_half_restored_home_takes_no_run(live: Command, inventory: Path, tmp_path: Path, command: list[str]) -> None:
    mark = tmp_path / "home" / RESTORE_MARK
    mark.write_text('"20260101-000000-abcdef"')
    runs = json.loads(live("runs", "list", "--json").out)
    result = live(*command, inventory)
    assert result.status == 1
    assert "a restore of backup 20260101-000000-abcdef into" in result.err
    assert "`keydistill restore SOURCE`" in result.err
    assert result.err.count("\n") == 1
    assert json.loads(live("runs", "list", "--json").out) == runs
    mark.unlink()
    assert live(*command, inventory).status == 0
