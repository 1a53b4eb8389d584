import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keydistill.cli.inventory import inventory
from keydistill.cli.main import cli
from keydistill.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text('keyphrase,category_path,search_volume\nRed Shoes,A > B,3\nred shoes,,4\nlamp,,"1,200"\nblue,,1\n')
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(inventory, ["check", *map(str, args)])


def test_a_report_for_people(file: Path) -> None:
    result = run(file, "--max-reject-share", "0.25")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "rejected 1 25.00% of the rows read" in text
    assert "merged 1 into another row" in text
    assert "without category 1 50.00% of the keyphrases" in text
    assert f"{file}, line 4, search_volume may be 1200 or 1.2; write numbers without" in result.stdout
    assert "OK: at most 25.00% of the rows may be rejected." in result.stdout
    assert result.stderr == ""


def test_the_status_says_that_a_run_would_fail(file: Path) -> None:
    result = run(file)
    assert result.exit_code == 1
    assert "FAILS: 25.00% of the rows are rejected and max_reject_share allows 5.00%" in result.stdout


def test_json(file: Path) -> None:
    result = run(file, "--json", "--max-reject-share", "0.25")
    output = json.loads(result.stdout)
    assert (output["rows_read"], output["rows"], output["passes"]) == (4, 2, True)
    assert output["examples"][0]["value"] == "1,200"
    assert run(file, "--json").exit_code == 1


def test_a_tree(file: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree.csv"
    tree.write_text("category_id,parent_id\n1,1\n")
    result = run(file, "--categories", tree)
    assert isinstance(result.exception, InputError)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "keydistill.cli.main", "inventory", "check", str(tmp_path / "none.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"error: {tmp_path / 'none.csv'} does not exist; check the name\n"


def test_the_status_reaches_the_shell(file: Path) -> None:
    command = [sys.executable, "-m", "keydistill.cli.main", "inventory", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_importing_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, keydistill.cli.inventory\n"
        "print({'pyarrow', 'duckdb', 'numpy', 'rich', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_parquet_file_leaves_no_thread_that_aborts_the_exit(tmp_path: Path) -> None:
    # Arrow's threads did, in one of ten runs or so: https://github.com/apache/arrow/issues/50482
    code = """
        import sys, pyarrow as pa, pyarrow.parquet as pq
        from pathlib import Path
        from unittest import mock
        from keydistill.ingest.inventory import check_inventory
        from keydistill.settings import load_settings
        path = Path(sys.argv[1])
        pq.write_table(pa.table({"keyphrase": ["a"]}), path)
        real = pq.ParquetFile.iter_batches
        with mock.patch.object(pq.ParquetFile, "iter_batches", autospec=True, side_effect=real) as read:
            check_inventory([path], load_settings())
        assert read.call_args.kwargs["use_threads"] is False
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    subprocess.run([sys.executable, "-c", lines, str(tmp_path / "a.parquet")], check=True)


def in_root(*args: object) -> Result:
    return CliRunner().invoke(cli, ["inventory", "check", *map(str, args)])


def test_decimal_commas_by_option_and_by_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "german.txt"
    path.write_text("Keyword;Volume\nzelt;40.000\nk.A.;1.234,00\n-;1\n")
    assert json.loads(in_root(path, "--json").stdout)["rejects_by_reason"] == {"bad_number": 2, "empty": 1}
    assert json.loads(in_root(path, "--json", "--decimal-comma").stdout)["rejects_by_reason"] == {"empty": 1}
    found = json.loads(in_root(path, "--json", "--decimal-comma", "--missing", "k.A.", "--missing", "-").stdout)
    assert found["rejects_by_reason"] == {"empty": 2}
    monkeypatch.setenv("KEYDISTILL_DECIMAL_COMMA", "true")
    monkeypatch.setenv("KEYDISTILL_MISSING_VALUES", '["k.A."]')
    assert json.loads(in_root(path, "--json").stdout)["rejects_by_reason"] == {"empty": 1}


def test_what_looks_misread_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("keyphrase,category_path\ntent,Outdoor/Camping/Tents\ntv,Electronics > TV | Video\n")
    report = in_root(path)
    assert (
        "note: 1 rows have a single category that looks like a path, such as 'Outdoor/Camping/Tents'" in report.stdout
    )
    assert "such as 'Video' beside 'Electronics > TV'" in report.stdout
    assert len(json.loads(in_root(path, "--json").stdout)["hints"]) == 2
