import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.fixture
def today(inventory: Path, tmp_path: Path) -> Path:
    """One keyphrase more, one with another volume."""
    text = inventory.read_text(encoding="utf-8").replace(
        "iphone 13,Electronics > Phones,9000", "iphone 13,Electronics > Phones,9001"
    )
    path = tmp_path / "today.csv"
    path.write_text(text + "usb c hub,,70,DE\n", encoding="utf-8")
    return path


def test_a_plan_then_the_sync_then_nothing_to_do(live: Command, today: Path) -> None:
    plan = live("sync", today, "--dry-run")
    assert "added        1, to be embedded\n  changed      1, in" in plan.out
    assert plan.out.endswith("dry run: nothing was changed\n")
    assert json.loads(live("sync", today, "--dry-run", "--json").out)["changes"] == {
        "added": 1,
        "changed": 1,
        "removed": 0,
        "unchanged": 4,
    }
    assert json.loads(live("collections", "list", "--json").out)[0]["points"] == 5
    done = live("sync", today)
    assert done.status == 0
    assert "1 added, 1 changed, 0 removed, 4 unchanged, 1 embedded" in done.out
    result = live("search", "usb c hub")
    assert "usb c hub" in result.out
    again = live("sync", today)
    assert "changes        none" in again.out
    shown = live("runs", "list")
    assert shown.out.count("sync") == 2
    history = json.loads(live("collections", "history", "--json").out)
    assert [line["action"] for line in history] == ["sync", "swap"]


def test_what_is_live_stays_reachable_and_what_was_replaced_goes(
    live: Command, today: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYDISTILL_GRACE_SECONDS", "0")
    before = live("status").out
    live("sync", today)
    pruned = json.loads(live("collections", "prune", "--keep", "1", "--json").out)
    assert len(pruned["drop"]) == 1
    assert pruned["drop"][0] in before
    assert live("search", "iphone").status == 0


def test_a_short_file_is_refused_in_one_line(live: Command, tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("keyphrase\nusb c cable\n", encoding="utf-8")
    refused = live("sync", short)
    assert refused.status == 1
    assert len(refused.err.splitlines()) == 1
    assert "lacks 5 of 5 live keyphrases (100%), more than max_removed_share 20% allows" in refused.err
    assert live("sync", short, "--max-removed-share", "1").status == 0


def test_bad_calls_are_one_line(keydistill: Command, live: Command, inventory: Path) -> None:
    for arguments, said in [
        ((), "give inventory files to start a sync, or --resume RUN"),
        ((inventory, "--resume", "x"), "not both"),
        (("--resume", "nothing"), "run 'nothing': there is none"),
        (("--resume", "nothing", "--dry-run"), "does not go with --resume"),
        (("no-such-file.csv",), "no-such-file.csv"),
        ((inventory, "--max-removed-share", "2"), "max_removed_share"),
    ]:
        result = keydistill("sync", *arguments)
        assert result.status != 0
        assert len(result.err.splitlines()) == 1, result.err
        assert said in result.err


def test_nothing_is_live_yet(keydistill: Command, inventory: Path) -> None:
    refused = keydistill("sync", inventory)
    assert refused.status == 1
    assert "nothing to sync; build one with `keydistill reindex INVENTORY`" in refused.err
