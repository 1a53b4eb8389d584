"""`keydistill runs prune`, and what it says."""

import json
from dataclasses import replace
from pathlib import Path

from keydistill.runs import open_store
from keydistill.settings import load_settings
from tests.cli.conftest import Command
from tests.runs.records import retrain_run


def test_old_runs_are_forgotten(keydistill: Command, tmp_path: Path) -> None:
    store = open_store(load_settings(home=tmp_path / "home"))
    long_ago = "2020-01-01T00:00:00+00:00"
    runs = [replace(retrain_run(), state="done", created_at=long_ago, updated_at=long_ago) for _ in range(3)]
    for number, run in enumerate(runs):
        store.add(replace(run, id=f"20200101-00000{number}-aaaaaa"))
    shown = json.loads(keydistill("runs", "prune", "--dry-run", "--json").out)
    assert shown == {
        "dry_run": True,
        "forget": ["20200101-000000-aaaaaa", "20200101-000001-aaaaaa"],
        "kept": {"20200101-000002-aaaaaa": "it is the last retrain that succeeded"},
    }
    assert len(store.all()) == 3
    assert keydistill("collections", "prune").status == 0
    assert [run.id for run in store.all()] == ["20200101-000002-aaaaaa"]
    assert keydistill("runs", "prune").out.splitlines() == [
        "run                     what",
        "20200101-000002-aaaaaa  kept: it is the last retrain that succeeded",
        "0 forgotten",
    ]
