"""Names are checked where we choose them; elsewhere no control character reaches a terminal."""

import dataclasses
import json
from pathlib import Path

import pytest

from keydistill.errors import InputError, SettingsError, one_line
from keydistill.execution import PruneOrder, ReindexOrder, SyncOrder
from keydistill.runs import ReindexRun, open_store
from keydistill.settings import load_settings
from tests.cli.conftest import Command
from tests.runs.records import NEW_RUNS

EVIL = "al\x1b[31mias\nforged line"
NAMES = [EVIL, "a b", "", "a/b", "../a", "naïve", "tail\n", "\x9b31m", "a\u202eb"]


@pytest.mark.parametrize("alias", NAMES)
def test_an_alias_is_a_plain_name_for_settings_and_orders(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="alias"):
        load_settings(alias=alias)
    if alias:
        monkeypatch.setenv("KEYDISTILL_ALIAS", alias)
        with pytest.raises(SettingsError, match="alias"):
            load_settings()
    for order, values in ((ReindexOrder, {"files": ["a.csv"]}), (SyncOrder, {"files": ["a.csv"]}), (PruneOrder, {})):
        with pytest.raises(InputError, match="alias"):
            order.of({**values, "alias": alias})


def test_usual_names_are_fine() -> None:
    assert load_settings(alias="Key_phrases-2.de").alias == "Key_phrases-2.de"
    assert PruneOrder.of({"alias": "a.b-c_D9"}).alias == "a.b-c_D9"


@pytest.mark.parametrize("name", NAMES)
def test_so_is_a_schedule(name: str) -> None:
    with pytest.raises(SettingsError, match="schedules"):
        load_settings(schedules={name: {"cron": "0 3 * * 0", "task": "prune"}})


def test_the_command_refuses_it_in_one_line_and_makes_nothing(
    keydistill: Command, inventory: Path, tmp_path: Path
) -> None:
    result = keydistill("--alias", EVIL, "reindex", inventory)
    assert result.status == 2
    assert "alias" in result.err
    assert len(result.err.splitlines()) == 1
    assert "\x1b" not in result.err
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.parametrize("json_or_table", [[], ["--json"]])
@pytest.mark.parametrize("command", ["status", "runs list", "runs show {run}"])
def test_what_records_hold_is_escaped(
    keydistill: Command, tmp_path: Path, command: str, json_or_table: list[str]
) -> None:
    store = open_store(load_settings(home=tmp_path / "home"))
    evil = f"{EVIL} \x9b\u202e"
    new = NEW_RUNS["reindex"]()
    assert isinstance(new, ReindexRun)
    run = store.add(dataclasses.replace(new, started_by=evil, alias=evil))
    store.update(run.id, lambda known: known.failed(f"broken {evil}"))
    result = keydistill(*command.format(run=run.id).split(), *json_or_table)
    # A failed run is a finding.
    assert result.status == (3 if command == "status" else 0)
    assert one_line(result.out.replace("\n", "")) == result.out.replace("\n", "")
    assert not [line for line in result.out.splitlines() if line.startswith("forged line")]
    if json_or_table and command.startswith("runs show"):
        assert json.loads(result.out)["started_by"] == evil


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "show", EVIL],
        ["runs", "cancel", EVIL],
        ["reindex", f"{EVIL}.csv"],
        ["recommend", f"{EVIL}.csv", "--out", "o.csv"],
        ["inventory", "check", f"{EVIL}.csv"],
        ["models", "show", EVIL],
        ["models", "promote", EVIL],
        ["collections", "swap", EVIL],
        ["search", "x", "--site", EVIL],
        ["--home", EVIL, "status"],
        [EVIL],
        ["status", f"--{EVIL}"],
    ],
)
def test_what_is_said_of_an_argument_is_escaped(keydistill: Command, command: list[str]) -> None:
    result = keydistill(*command)
    for text in (result.out, result.err):
        assert "\x1b" not in text
    assert not result.err.startswith("Traceback")


def test_a_column_of_a_file_is_escaped(keydistill: Command, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('keyphrase,"\x1b[31mred","two\nlines"\nlens,a,b\n\x1b[2Jlens,a,b\n')
    result = keydistill("inventory", "check", path)
    assert "\x1b" not in result.out + result.err
