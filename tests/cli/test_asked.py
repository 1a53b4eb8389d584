"""What services were asked, and what the shadow found, on the command line."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keydistill.runs import open_store, reindex_of
from keydistill.serve import SampledItem, SampleFile
from keydistill.settings import load_settings
from tests.cli.conftest import Command
from tests.support.asked import shadow_sums, waiting_run


def test_the_command_counts_copies_and_forgets_but_shows_no_text(keydistill: Command, tmp_path: Path) -> None:
    empty = keydistill("serve", "sample", "--out", tmp_path / "items.jsonl")
    assert (empty.status, "holds no items" in empty.err) == (1, True)
    file = SampleFile.of(load_settings())
    at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
    file.merge([SampledItem("1", "title 1", None, None, None, at, 0.5)], 5)
    shown = keydistill("serve", "sample", "--json")
    assert json.loads(shown.out)["items"] == 1
    assert "title 1" not in shown.out
    assert "items.csv: a sample is JSON lines" in keydistill("serve", "sample", "--out", tmp_path / "items.csv").err
    assert "copied  1" in keydistill("serve", "sample", "--out", tmp_path / "items.jsonl").out
    assert (tmp_path / "items.jsonl").stat().st_mode & 0o777 == 0o600
    assert "items   0" in keydistill("serve", "sample", "--forget").out
    assert not file.path.exists()
    assert keydistill("serve", "sample", "--forget", "--out", "x.jsonl").status == 2


def test_the_command_shows_its_rows(keydistill: Command, tmp_path: Path) -> None:
    report: dict[str, Any] = {
        **{"collection": "c", "student": "s", "live": None, "live_student": None, "against": "nothing is live"},
        **{"items": "none", "queries": 0, "referee": None, "seconds": 0.0, "rows": [], "verdict": "passed"},
    }
    home = tmp_path / "home"
    with waiting_run(home, "c") as run_id:
        store = open_store(load_settings(home=home))
        store.update(run_id, lambda run: reindex_of(run).changed(gate=report, shadow=shadow_sums()))
        passed = keydistill("gate", run_id)
        assert passed.status == 0
        (row,) = [line for line in passed.out.splitlines() if line.startswith("shadow overlap@10")]
        assert row.split()[2:7] == ["0.400", "-", ">=", "0.100", "pass"]
        store.update(run_id, lambda run: reindex_of(run).changed(shadow=shadow_sums(overlap=5.0)))
        refused = keydistill("gate", run_id)
        assert (refused.status, "shadow       failed: shadow overlap@10" in refused.out) == (1, True)
        shown = json.loads(keydistill("gate", run_id, "--json").out)
        assert shown["shadow"][0]["verdict"] == "fail"
