"""Every command that writes a file or folder refuses one that it reads."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

ITEM = {"item_id": "1", "title": "lens", "keyphrase": "camera lens", "label": 1}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps(ITEM) + "\n")
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps(ITEM) + "\n")
    return path


@pytest.mark.parametrize(
    "command",
    [
        "recommend {table} --out {table}",
        "recommend {other} {table} --out {table}",
        "score {table} --assistant a --out {table}",
        "score {other} --items {table} --assistant a --out {table}",
        "judge {table} --labels {other} --out {table}",
        "judge {other} --labels {table} --out {table}",
        "judge {other} --labels {other} --items {table} --out {table}",
        "judge {other} --labels {other} --human {table} --out {table}",
        "judge {other} --simulation {folder} --out {table}",
        "train assistant {other} --items {table} --out {table}",
        "train student --items {table} --judgments {other} --out {table}",
        "evaluate s --items {table} --inventory {other} --labels {other} --report {folder}",
        "signals import ubi {table} --out {folder} --force",
        "signals import ubi {other} --items {table} --out {folder} --force",
        "signals import esci {table} --out {folder} --force",
        "signals import esci {folder} --out {folder} --force",
        "signals import wands {folder} --out {folder} --force",
        "signals import beir {folder} --out {folder} --force",
        "signals import qrels {other} --queries {table} --corpus {other} --out {folder} --force",
        "simulate {folder} --force",
    ],
)
def test_an_input_stays(keydistill: Command, tmp_path: Path, table: Path, other: Path, command: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if "{folder}" in command:
        table = table.rename(folder / table.name)
        # Folders that `--force` would replace.
        for manifest in ("signals.json", "evaluation.json"):
            (folder / manifest).write_text("{}")
    before = table.read_bytes()
    result = keydistill(*command.format(table=table, other=other, folder=folder).split())
    assert result.status in (1, 2)
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    assert "name another" in result.err
    assert table.read_bytes() == before


def test_a_link_to_an_input_is_refused(keydistill: Command, tmp_path: Path, table: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(table.name)
    result = keydistill("recommend", table, "--out", "link.jsonl")
    assert result.status == 1
    assert "link.jsonl is the input" in result.err
    assert link.is_symlink()
