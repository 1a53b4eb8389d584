import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Command

CLICKS = (
    "item_id,keyphrase,position,impressions,clicks\n"
    "1,desk,1,1000,200\n1,desk,2,1000,100\n2,desk,3,10,11\n9,lamp,1,50,5\n"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "clicks.csv").write_text(CLICKS)
    (tmp_path / "items.csv").write_text("item_id,title\n1,Desk\n2,Lamp\n")
    return tmp_path


def test_check_prints_counts_rejects_and_positions(keydistill: Command, files: Path) -> None:
    result = keydistill(
        "signals", "check", "--clicks", "clicks.csv", "--items", "items.csv", "--max-reject-share", "0.3"
    )
    assert result.status == 0
    text = " ".join(result.out.split())
    assert "clicks 4 1 0 3 2 33.3%" in text
    assert "eta 1.00 ± 0.18, from pairs that were shown at several positions (300 clicks)" in text
    assert "contradiction: 1 rejected clicks.csv, line 4, clicks is more than the 10 impressions" in text
    assert "OK: at most 30.00%" in text
    assert result.err == ""


def test_check_fails_above_the_share_and_says_so_as_json(keydistill: Command, files: Path) -> None:
    result = keydistill("signals", "check", "--clicks", "clicks.csv")
    assert result.status == 1
    assert "FAILS: more than 5.00% of the rows are rejected in clicks." in result.out
    result = keydistill("signals", "check", "--clicks", "clicks.csv", "--json")
    assert result.status == 1
    output = json.loads(result.out)
    assert (output["passes"], output["tables"]["clicks"]["rows_rejected"]) == (False, 1)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("signals check", 2, "Name a folder of signals, or files"),
        ("signals check . --clicks clicks.csv", 2, "Name a folder of signals, or files"),
        ("signals check .", 1, "holds no signals"),
        ("signals check --clicks none.csv", 1, "none.csv does not exist"),
        ("signals import esci none.parquet --out o", 1, "none.parquet does not exist"),
        ("signals import wands . --out o", 1, "has no query.csv"),
        ("signals import ubi clicks.csv --out o", 1, "4 of 4 rows were rejected (100.00%)"),
        ("signals import ubi clicks.csv --out o --first-position 2", 2, "'2' is neither 0 nor 1; write 0, or shop=0"),
        ("signals import ubi clicks.csv --out o --first-position =0", 2, "'=0' is neither 0 nor 1"),
    ],
)
def test_mistakes_are_said(keydistill: Command, files: Path, arguments: str, status: int, message: str) -> None:
    result = keydistill(*arguments.split())
    assert result.status == status
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (files / "o").exists()


def test_import_then_check_the_folder(keydistill: Command, tmp_path: Path) -> None:
    log = [
        {"query_id": "q1", "user_query": "desk", "query_response_hit_ids": ["1", "2"]},
        {"action_name": "click", "query_id": "q1", "event_attributes": {"object": {"object_id": "2", "name": "Oak"}}},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    command = ("signals", "import", "ubi", "log.jsonl", "--out", "out", "--site", "US")
    dry = keydistill(*command, "--dry-run")
    assert (dry.status, dry.err) == (0, "")
    assert "dry run: nothing was written" in dry.out
    assert not (tmp_path / "out").exists()
    output = json.loads(keydistill(*command, "--json").out)
    assert output["rows"] == {"items": 1, "clicks": 2, "inventory": 1}
    assert keydistill(*command).status == 1
    assert keydistill(*command, "--force").status == 0
    assert keydistill("signals", "check", "out").status == 0
    assert keydistill("inventory", "check", "out/inventory.parquet").status == 0
    assert pq.read_table(tmp_path / "out" / "clicks.parquet")["clicks"].to_pylist() == [0, 1]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, keydistill.cli.signals\n"
        "print({'pyarrow', 'duckdb', 'numpy', 'rich', 'torch', 'distillation'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_checking_never_imports_torch() -> None:
    code = "import sys, keydistill.distillation.signals; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_grades_of_another_scale(keydistill: Command, files: Path) -> None:
    (files / "qrels.txt").write_text("q1 0 1 40\nq1 0 2 0\n")
    (files / "queries.csv").write_text("query_id,query\nq1,desk\n")
    command = ("signals", "import", "qrels", "qrels.txt", "--queries", "queries.csv", "--corpus", "items.csv")
    result = keydistill(*command, "--out", "out")
    assert result.status == 1
    assert "grades above 3 among 40 (1 rows), 0 (1 rows)" in result.err
    assert "--grades 40=3" in result.err
    for wrong in ("40", "40=4", "40=3,40=2", "x=1", ""):
        result = keydistill(*command, "--out", "out", "--grades", wrong)
        assert result.status == 2
        assert "write each grade once, as in 100=3,10=2" in " ".join(result.err.split())
    assert keydistill(*command, "--out", "out", "--grades", "40=3").status == 0
    assert pq.read_table(files / "out" / "judgments.parquet")["grade"].to_pylist() == [3, 0]
