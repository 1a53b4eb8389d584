"""The demo as `make demo` runs it: some seven minutes, since it trains three models; and what it shows at once."""

import json
import re
from pathlib import Path

import pytest

from keydistill.cli import demo as demo_module
from keydistill.errors import TrainingError
from tests.cli.conftest import Command


@pytest.mark.slow
def test_the_demo_shows_that_distilling_helps(keydistill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the tiny one: what it shows is about real weights.
    monkeypatch.delenv("KEYDISTILL_STUDENT")
    shown = keydistill("demo")
    assert shown.status == 0, shown.err
    precision = {
        name: float(re.findall(rf"^{name} +\d+ +(\S+)", shown.out, re.MULTILINE)[0])
        for name in ("untrained", "clicks alone", "distilled")
    }
    assert precision["untrained"] < precision["clicks alone"] < precision["distilled"]
    # Every command that it shows was run, and each student had its turn behind the alias.
    assert shown.out.count("$ keydistill") == 9


def test_the_untrained_students_lists_are_shown_before_any_training(
    keydistill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: object) -> str:
        raise TrainingError("the demo got as far as training")

    monkeypatch.setattr(demo_module, "_train_on_clicks", no_training)
    shown = keydistill("demo", "--items", 50, "--keyphrases", 500)
    assert shown.status == 1
    assert "the demo got as far as training" in shown.err
    commands = re.findall(r"^\$ keydistill (?:--home \S+ )?(\w+)", shown.out, re.MULTILINE)
    assert commands == ["simulate", "reindex", "recommend"]
    assert (tmp_path / "home" / "marketplace" / "truth.parquet").exists()
    assert json.loads(keydistill("status", "--json").out)["points"] == 500
    tables = re.findall(r"^untrained\n((?:(?:right|WRONG)  \S.*\n)+)", shown.out, re.MULTILINE)
    assert [len(table.splitlines()) for table in tables] == [10, 10]


def test_a_demo_takes_over_no_home_of_somebody_else(keydistill: Command, tmp_path: Path) -> None:
    home = tmp_path / "shop"
    (home / "runs").mkdir(parents=True)
    shown = keydistill("--home", home, "demo")
    assert shown.status == 2
    assert shown.err == (
        f"error: {home} holds something else than a demo, which would put its own collection live there; "
        "expected an empty or new home, as in `keydistill --home demo-data demo`\n"
    )
    assert [path.name for path in home.iterdir()] == ["runs"]


def test_a_demo_that_was_killed_at_its_beginning_begins_again(
    keydistill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / ".marketplace.partial").mkdir(parents=True)

    def as_far_as_this(*_: object) -> None:
        raise TrainingError("the demo began")

    monkeypatch.setattr(demo_module, "_recommended", as_far_as_this)
    assert "the demo began" in keydistill("demo", "--items", 50, "--keyphrases", 500).err


def test_the_former_folder_is_answered_with_the_home(keydistill: Command) -> None:
    shown = keydistill("demo", "--dir", "elsewhere")
    assert shown.status == 2
    assert "there is no --dir any more" in shown.err
    assert "`keydistill --home elsewhere demo`" in shown.err
