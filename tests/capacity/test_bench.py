"""`keydistill bench` and `plan` as they are called, with small trials."""

import json
from pathlib import Path

import pytest

from keydistill.capacity import read_figures
from tests.cli.conftest import Command, keydistill

__all__ = ["keydistill"]


@pytest.fixture
def measured(keydistill: Command, tmp_path: Path) -> Path:
    result = keydistill("bench", "--points", 3_000, "--json")
    assert result.status == 0, result.err
    answer = json.loads(result.out)
    assert answer["file"] == str(tmp_path / "home" / "figures.json")
    return Path(answer["file"])


def test_what_was_measured_is_what_is_planned_with(keydistill: Command, measured: Path, tmp_path: Path) -> None:
    figures = read_figures(measured)
    small, large = figures.trials
    assert (small.points, large.points, large.dimension) == (1_000, 3_000, 32)
    assert large.disk["vectors"] >= 3_000 * 32 * 4
    assert large.reader["own"] >= figures.reader_base_bytes > 10_000_000
    assert large.peak_disk_bytes >= sum(large.disk.values())
    assert len(figures.embedding.seconds_per_thousand) == 10
    assert figures.sync.changed == 30
    # Nothing of the trials is left, and nothing was put live.
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["figures.json", "tmp"]
    assert list((tmp_path / "home" / "tmp").iterdir()) == []

    result = keydistill("plan", "--keyphrases", 5_000_000, "--changed-per-day", 1_000)
    assert result.status == 0, result.err
    assert f"figures        {measured}" in result.out
    assert "5,000,000 keyphrases of 32 dimensions, int8, embedded" in result.out
    plan = json.loads(keydistill("plan", "--keyphrases", 5_000_000, "--json").out)
    assert plan["disk_bytes"] >= 5_000_000 * 32 * 5


def test_where_nothing_was_measured_the_plan_says_so(keydistill: Command) -> None:
    result = keydistill("plan", "--keyphrases", 1_000_000)
    assert result.status == 0, result.err
    assert "nothing was measured here yet, run `keydistill bench`" in result.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--workers", "2"], "workers is 2, and the embedded engine"),
        (["--quantization", "int2"], "setting 'quantization'"),
        (["--figures", "missing.json"], "missing.json cannot be read as figures"),
    ],
)
def test_plans_that_cannot_be_made(keydistill: Command, arguments: list[str], problem: str) -> None:
    result = keydistill("plan", "--keyphrases", 1_000, *arguments)
    assert result.status in (1, 2)
    assert problem in result.err
    assert len(result.err.splitlines()) == 1


def test_an_inventory_that_is_too_small(keydistill: Command, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("keyphrase\nred shoes\nblue shoes\n")
    result = keydistill("bench", "--inventory", tmp_path / "few.csv")
    assert result.status != 0
    assert "the inventory has 2 keyphrases, and two trials need 100" in result.err
    assert list((tmp_path / "home" / "tmp").iterdir()) == []
