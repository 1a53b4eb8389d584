"""Examples of docs/data-formats.md are read by the product, and its outputs have the columns that the page shows."""

import csv
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from keydistill.distillation.pairs import load_scores
from keydistill.settings import load_settings
from keydistill.tables import rejects_file
from tests.cli.conftest import Command, inventory, keydistill, live  # noqa: F401  # fixtures
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "data-formats.md").read_text(encoding="utf-8")
_EXAMPLE = re.compile(r"<!-- (reads|writes): (\w+) -->\n```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
READ = [(name, kind, text) for direction, name, kind, text in _EXAMPLE.findall(PAGE) if direction == "reads"]
WRITTEN = {name: text.splitlines() for direction, name, _, text in _EXAMPLE.findall(PAGE) if direction == "writes"}


def example(folder: Path, name: str) -> Path:
    """The first example of a table, as a file."""
    kind, text = next((kind, text) for other, kind, text in READ if other == name)
    path = folder / f"{name}.{kind}"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_table_that_is_read_has_an_example() -> None:
    tables = {"inventory", "categories", "items", "clicks", "search_relevance", "judgments", "pairs", "exclusions"}
    assert {name for name, _, _ in READ} == tables | {"settings", "scores"}
    assert WRITTEN.keys() == {"lists", "rejects", "judged", "snapshot"}


def test_inventories(keydistill: Command, tmp_path: Path) -> None:  # noqa: F811
    examples = [(kind, text) for name, kind, text in READ if name == "inventory"]
    assert {kind for kind, _ in examples} == {"csv", "jsonl"}
    for kind, text in examples:
        path = tmp_path / f"inventory.{kind}"
        path.write_text(text, encoding="utf-8")
        result = keydistill("inventory", "check", path)
        assert (result.status, re.search(r"rejected +0 ", result.out) is not None) == (0, True), result.out
    result = keydistill("inventory", "check", path, "--categories", example(tmp_path, "categories"))
    assert result.status == 0, result.out + result.err


def test_signals(keydistill: Command, tmp_path: Path) -> None:  # noqa: F811
    files = {name: example(tmp_path, name) for name in ("items", "clicks", "search_relevance", "judgments")}
    options = [word for name, path in files.items() for word in (f"--{name.replace('_', '-')}", path)]
    result = keydistill("signals", "check", *options)
    assert result.status == 0, result.err
    for name in files:
        assert re.search(rf"^{name} +2 +0 ", result.out, re.MULTILINE), result.out


def test_pairs_judgments_and_scores(keydistill: Command, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "judged.csv"
    labels = example(tmp_path, "judgments")
    result = keydistill("judge", example(tmp_path, "pairs"), "--labels", labels, "--out", out)
    assert result.status == 0, result.err
    assert out.read_text().splitlines()[0] == WRITTEN["judged"][0]
    with rejects_file(tmp_path / "rejects.parquet") as rejects:
        assert load_scores([example(tmp_path, "scores")], rejects).num_rows == 1
        assert rejects.count == 0


def test_lists_exclusions_and_rejects(live: Command, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "lists.csv"
    items = example(tmp_path, "items")
    items.write_text(items.read_text() + "a3,,,us\n")
    result = live("recommend", items, "--out", out, "--limit", 2)
    assert result.status == 0, result.err
    header = out.read_text().splitlines()[0]
    assert header == WRITTEN["lists"][0]
    assert all(len(row) == len(header.split(",")) for row in csv.reader(WRITTEN["lists"]))
    assert pq.read_schema(tmp_path / "lists.csv.rejects.parquet").names == WRITTEN["rejects"][0].split(",")
    result = live("recommend", items, "--out", out, "--exclude", example(tmp_path, "exclusions"))
    assert result.status == 0, result.err
    (part,) = (tmp_path / "home" / "runs").glob("*/snapshot/part-00000.parquet")
    assert pq.read_schema(part).names == WRITTEN["snapshot"][0].split(",")


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYDISTILL_RUNTIME", raising=False)
    monkeypatch.setenv("KEYDISTILL_CONFIG", str(example(tmp_path, "settings")))
    settings = load_settings()
    assert (settings.runtime, settings.payload_indexes) == ("native-int8", {"brand": "keyword"})
    assert settings.schedules["nightly-sync"].task == "sync"
