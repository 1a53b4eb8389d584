import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from keydistill.distillation.registry import Lineage, Registry
from keydistill.encoders import Student
from tests.cli.conftest import Command
from tests.support.places import ROOT

ITEMS = (
    "item_id,title,category_path,site\n"
    "1,red running shoes size 9,Clothing > Shoes,US\n"
    "2,iphone 13 clear case,Electronics > Phones > Cases,US\n"
    "3,usb c cable 2m,,DE\n"
)
LABELS = (
    "item_id,keyphrase,label\n"
    "1,Red  Running Shoes,yes\n"
    "1,iphone 13,no\n"
    "2,iphone 13 case,yes\n"
    "2,iphone 13,no\n"
    "3,usb c cable,yes\n"
    "99,usb c cable,yes\n"
)


@pytest.fixture
def files(tmp_path: Path, inventory: Path) -> list[object]:
    """The options that name items, inventory and labels."""
    (tmp_path / "items.csv").write_text(ITEMS, encoding="utf-8")
    (tmp_path / "labels.csv").write_text(LABELS, encoding="utf-8")
    return ["--items", "items.csv", "--inventory", inventory, "--labels", "labels.csv"]


def test_evaluate_prints_figures_and_who_judged(
    keydistill: Command, files: list[str | Path], tiny_folder: Path
) -> None:
    result = keydistill("evaluate", tiny_folder, *files)
    assert (result.status, result.err) == (0, "")
    assert "Labels (a table) decide" in result.out
    assert "1 speak of other items" in result.out
    figures = {line.split()[0]: line.split()[1] for line in result.out.splitlines() if "@" in line.split(" ")[0]}
    assert figures["recall@10"] == "1.0000"  # more than the inventory has
    assert "coverage@10" in figures


def test_evaluate_says_what_clicks_can_be_kept_with(
    keydistill: Command, files: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "clicks.csv").write_text(
        "item_id,keyphrase,impressions,clicks\n1,red running shoes,9,3\n1,blue running shoes,9,0\n", encoding="utf-8"
    )
    result = keydistill("evaluate", tiny_folder, *files, "--clicks", "clicks.csv")
    assert (result.status, result.err) == (0, "")
    assert "clicks    3 of 2 pairs that were shown\n" in result.out
    figures = [line.split()[0] for line in result.out.splitlines() if line]
    assert {"click_threshold", "below_clicks", "listed_below_clicks@10"} <= set(figures)


def test_evaluate_as_json_with_everything(
    keydistill: Command, files: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "search.csv").write_text(
        "item_id,keyphrase,score\n1,red running shoes,0.9\n1,blue running shoes,0.1\n", encoding="utf-8"
    )
    (tmp_path / "known.csv").write_text("item_id,rank,keyphrase\n2,1,iPhone 13\n", encoding="utf-8")
    result = keydistill(
        "evaluate", tiny_folder, "--against", tiny_folder, *files,
        "--search-relevance", "search.csv", "--search-threshold", 0.5, "--exclude", "known.csv",
        "--dimensions", "16,8", "--k", "1,4", "--report", "report", "--json", "--complete-labels",
    )  # fmt: skip
    assert (result.status, result.err) == (0, "")
    output = json.loads(result.out)
    assert output["cutoffs"] == [1, 4]
    assert list(output["dimensions"]) == ["32", "16", "8"]
    assert output["counts"]["rejected_by_search"] == 1
    assert output["counts"]["already_known"] == 1
    assert output["judge"]["kind"] == "truth"
    assert output["comparison"]["differences"]["relevant@4"]["difference"] == 0
    assert output["estimates"]["search_pass@4"][0] == 0.5
    assert (tmp_path / output["report"]).is_file()
    assert (tmp_path / "report" / "against.json").is_file()


def test_students_are_computed_as_the_settings_say(
    keydistill: Command, files: list[str | Path], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[dict[str, object]] = []
    load = Student.load

    def noted(source: str, **options: Any) -> Student:
        loaded.append(options)
        return load(source, device="cpu")

    monkeypatch.setattr(Student, "load", noted)
    monkeypatch.setenv("KEYDISTILL_RUNTIME", "native-int8")
    monkeypatch.setenv("KEYDISTILL_THREADS", "1")
    result = keydistill("evaluate", tiny_folder, "--against", tiny_folder, *files, "--dimension", 16)
    assert result.status == 0, result.err
    assert [(one["runtime"], one["dimension"], one["threads"]) for one in loaded] == [("native-int8", 16, 1)] * 2
    assert all(one["cache"] for one in loaded)


def test_the_same_command_writes_the_same_bytes_in_another_process(
    files: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    reports = []
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HOME": str(tmp_path),
        "KEYDISTILL_RUNTIME": "numpy",
        # Where fonts were looked for once; in an empty home that takes longer than all else.
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
        "OMP_NUM_THREADS": "1",
        "PATH": "",
        "PYTHONPATH": str(ROOT),
    }
    for hash_seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-m", "keydistill.cli.main", "--home", tmp_path / "home", "evaluate", tiny_folder, *files,
             "--report", f"report-{hash_seed}"],
            check=True, cwd=tmp_path, capture_output=True,
            env={**environment, "PYTHONHASHSEED": hash_seed},
        )  # fmt: skip
        folder = tmp_path / f"report-{hash_seed}"
        reports.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert reports[0] == reports[1]
    assert set(reports[0]) == {"index.html", "evaluation.json"}


def test_a_version_of_the_registry_is_evaluated(
    keydistill: Command, files: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "home" / "models")
    version = registry.publish("student", tiny_folder, lineage=Lineage(), metrics={})
    registry.promote(version)
    output = json.loads(keydistill("evaluate", "promoted", "--against", version.full_name, *files, "--json").out)
    assert output["student"].startswith(version.name)
    assert output["against"]["student"] == output["student"]


def test_rows_that_cannot_be_used_are_told_and_too_many_are_an_error(
    keydistill: Command, files: list[str | Path], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "items.csv").write_text(ITEMS + ",no id,,US\n", encoding="utf-8")
    refused = keydistill("evaluate", tiny_folder, *files)
    assert refused.status == 1
    assert "1 rows of the items (25.00%) cannot be used, the first: items.csv row 4, item_id" in refused.err
    assert refused.err.count("\n") == 1
    (tmp_path / "keydistill.toml").write_text("max_reject_share = 0.5\n", encoding="utf-8")
    result = keydistill("evaluate", tiny_folder, *files)
    assert result.status == 0
    assert "1 rows of the items" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing says what is relevant"),
        (["--assistant", "promoted"], "no assistant is promoted"),
        (["--labels", "labels.csv", "--drop-unknown"], "--drop-unknown speaks of the search filter"),
        (["--complete-labels", "--assistant", "x"], "--complete-labels speaks of labels"),
        (["--labels", "labels.csv", "--k", "ten"], "no list of whole numbers"),
        (["--labels", "labels.csv", "--dimensions", "64"], "dimension 64 was asked for"),
        (["--labels", "labels.csv", "--exclude", "labels.tsv"], "labels.tsv does not exist"),
        (["--labels", "labels.csv", "--report", "."], "the input items.csv is in it"),
        (["--labels", "labels.csv", "--report", "notes"], "holds no evaluation.json"),
    ],
)
def test_what_cannot_be_done_is_said(
    keydistill: Command, files: list[str | Path], tiny_folder: Path, options: list[str], message: str
) -> None:
    Path("notes").mkdir()
    Path("notes", "mine.txt").touch()
    result = keydistill("evaluate", tiny_folder, *files[:4], *options)
    assert result.status != 0
    assert message in result.err
    assert "Traceback" not in result.err
