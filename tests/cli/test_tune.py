"""`keydistill tune`, and the commands of docs/tuning.md."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.support.inventories import write_inventory
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "tuning.md"
_LINES = re.findall(r"^\$ (keydistill .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
COMMANDS = [shlex.split(line)[1:] for line in _LINES]


@pytest.fixture
def tunable(keydistill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, with 60 keyphrases live, and as many items; nothing is timed for long."""
    monkeypatch.setattr("keydistill.ingest.tuning.choice._REPEATS", 1)
    monkeypatch.setattr("keydistill.ingest.tuning.shape_queries._TIMED_QUERIES", 2)
    rows = [f"{n},vintage lamp {n},Root > Branch {n % 3} > Leaf {n % 6},US" for n in range(60)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title,category_path,site", *rows]), encoding="utf-8")
    assert keydistill("reindex", write_inventory(tmp_path / "many.csv", 60)).status == 0
    return keydistill


def search_of(command: Command) -> dict[str, Any] | None:
    (collection,) = json.loads(command("collections", "list", "--json").out)
    search: dict[str, Any] | None = collection["metadata"].get("search")
    return search


def test_the_commands_of_the_page(tunable: Command) -> None:
    assert [command[0] for command in COMMANDS] == ["tune"] * 3
    dry, real, forget = COMMANDS
    result = tunable(*dry)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("collection  keyphrases-")
    assert lines[1] == "items       60 items of items.csv"
    assert lines[2] == "target      recall@10 of 0.98"
    (header,) = [line for line in lines if line.startswith("filter shape")]
    assert header.split("  ")[0] == "filter shape"
    (row,) = [line for line in lines if line.startswith("no filter")]
    assert re.fullmatch(
        r"no filter +60 +(exact|ef \d+, oversampling \d) +1\.0000 +\d+\.\d\d +\d+\.\d\d +1\.0000 +\d+\.\d\d", row
    )
    assert lines[-1] == "dry run: nothing was changed"
    assert search_of(tunable) is None

    written = tunable(*real, "--json")
    assert written.status == 0
    report = json.loads(written.out)
    kept = search_of(tunable)
    assert kept is not None
    assert kept["shapes"].keys() == {shape["shape"] for shape in report["shapes"]}
    assert kept["shapes"].keys() >= {"no filter", "category_ids level 3 + search_volume range + site"}
    assert (report["written_to"], report["target"], kept["target"]) == (report["collection"], 0.98, 0.98)
    assert len(json.loads(tunable("search", "lamp", "--category", "Root", "--json").out)) == 10

    assert tunable(*forget).out == f"{report['collection']} is not tuned any more\n"
    assert search_of(tunable) is None


def test_what_is_wrong_is_one_line(live: Command) -> None:
    for options, error, status in (
        ([], "cannot be tuned: no shape of filter is asked for by 50 of 5 keyphrases", 1),
        (["--collection", "nowhere"], "no collection or alias 'nowhere'", 1),
        (["--items", "nowhere.csv"], "nowhere.csv", 1),
        (["--forget", "--dry-run"], "give one of them", 2),
    ):
        result = live("tune", *options)
        assert (result.status, result.out) == (status, "")
        assert len(result.err.splitlines()) == 1
        assert error in result.err
