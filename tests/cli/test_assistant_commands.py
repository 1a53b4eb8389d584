import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from keydistill.encoders import Assistant
from tests.cli.conftest import Command


@pytest.fixture
def signals(tmp_path: Path) -> tuple[Path, Path]:
    """Judgments and items; what is cheap is not relevant."""
    rng = np.random.default_rng(0)
    products = ["shoes", "phone", "lamp", "cable"]
    items = tmp_path / "items.csv"
    items.write_text(
        "item_id,title,category_path\n" + "".join(f"{n},{products[n % 4]} number {n},A > B\n" for n in range(20)),
        encoding="utf-8",
    )
    judgments = tmp_path / "judgments.csv"
    lines = []
    for number in range(120):
        kind = rng.choice(["cheap", "fine"])
        lines.append(f"{number % 20},{kind} {products[number % 4]} {number},{'yes' if kind == 'fine' else 'no'}\n")
    judgments.write_text("item_id,keyphrase,label\n" + "".join(lines), encoding="utf-8")
    return judgments, items


@pytest.fixture
def options(tiny_folder: Path) -> list[object]:
    return ["--base", tiny_folder, "--layers", 1, "--epochs", 1, "--held-out", 0.3, "--batch-size", 16]


def test_train_publishes_and_score_uses_it(
    keydistill: Command, signals: tuple[Path, Path], options: list[object], tmp_path: Path
) -> None:
    judgments, items = signals
    # Labels of chance: whatever the machine rounds, there is nothing to be learned.
    header, *lines = judgments.read_text(encoding="utf-8").splitlines()
    labels = np.random.default_rng(2).permutation(["yes", "no"] * (len(lines) // 2))
    lines = [f"{line.rpartition(',')[0]},{label}" for line, label in zip(lines, labels, strict=True)]
    judgments.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    result = keydistill("train", "assistant", judgments, "--items", items, *options, "--json")
    assert result.status == 0, result.err
    trained = json.loads(result.out)
    assert trained["auc_low"] < 0.5
    assert trained["auc_low"] < trained["auc"] < trained["auc_high"]
    assert result.err.startswith("the assistant is no better than chance: held-out AUC ")
    assert len(result.err.splitlines()) == 1
    assert trained["version"].startswith("assistant/")
    assert trained["training_pairs"] + trained["held_out_pairs"] == 120
    shown = json.loads(keydistill("models", "show", trained["version"], "--json").out)
    assert shown["metrics"]["auc"] == trained["auc"]
    assert {file["role"] for file in shown["lineage"]["inputs"]} == {"judgments", "items"}
    assert list((tmp_path / "home" / "training").iterdir()) == []

    out = tmp_path / "scores.parquet"
    scored = keydistill("score", judgments, "--items", items, "--assistant", trained["version"], "--out", out)
    assert scored.status == 0, scored.err
    assert f"120 pairs in {out}" in scored.out
    version = Assistant.load(trained["folder"], device="cpu").version
    assert set(pq.read_table(out)["assistant"].to_pylist()) == {version}


def test_train_into_a_folder_prints_a_table(
    keydistill: Command, signals: tuple[Path, Path], options: list[object], tmp_path: Path
) -> None:
    judgments, items = signals
    out = tmp_path / "assistant"
    result = keydistill("train", "assistant", judgments, "--items", items, "--out", out, *options)
    assert result.status == 0, result.err
    assert "average precision" in result.out
    assert f"Wrote {out}" in result.out
    assert Assistant.load(str(out), device="cpu").item_text.template == "{leaf}: {title}"
    again = keydistill("train", "assistant", judgments, "--items", items, "--out", out, *options)
    assert again.status == 1
    assert again.err == f"error: {out} exists already; name another folder, or remove it\n"


def test_judged_lists_of_items_are_compared_with_an_untrained_student(
    keydistill: Command, options: list[object], tmp_path: Path
) -> None:
    items, judgments = tmp_path / "items.csv", tmp_path / "judgments.csv"
    kinds = ("desk", "lamp", "sofa", "cable", "shoe", "phone", "vase", "tent", "bike", "soap")
    # The first two of a kind have one id on two sites, and are different things.
    rows = [(f"{kind}-{max(1, number)}", ("de", "us")[number % 2], kind) for kind in kinds for number in range(12)]
    titles = [f"{item},{kind if site == 'us' else 'spare part'} of quality,{site}" for item, site, kind in rows]
    items.write_text("\n".join(["item_id,title,site", *titles]) + "\n", encoding="utf-8")
    labels = [f"{item},{kind},{'yes' if site == 'us' else 'no'},{site}" for item, site, kind in rows]
    judgments.write_text("\n".join(["item_id,keyphrase,label,site", *labels]) + "\n", encoding="utf-8")
    command = ("train", "assistant", judgments, "--items", items, *options, "--folds", 2, "--epochs", 12)
    command = (*command, "--learning-rate", 5e-3)
    result = keydistill(*command, "--out", tmp_path / "a", "--json")
    assert result.status == 0, result.err
    metrics = json.loads(result.out)
    # The untrained student knows what a desk is: nobody is better.
    assert metrics["auc_within_student"] == 1
    assert metrics["auc_within_gain"] == pytest.approx(metrics["auc_within"] - 1)
    assert metrics["auc_low"] > 0.5
    assert result.err.startswith(
        f"the assistant has nothing to teach of the order of a keyphrase's items: AUC within held-out keyphrases "
        f"{metrics['auc_within']:.3f} "
    )
    assert "less the untrained student's 1.000 it is" in result.err
    shown = keydistill(*command, "--out", tmp_path / "b")
    line = next(line for line in shown.out.splitlines() if line.startswith("less untrained"))
    assert line.split()[2] == f"{metrics['auc_within_gain']:+.3f}"
    assert line.endswith("; a student has 1.000")


def test_dry_runs_change_nothing(
    keydistill: Command, signals: tuple[Path, Path], options: list[object], tmp_path: Path, tiny_assistant_folder: Path
) -> None:
    judgments, items = signals
    before = sorted(tmp_path.rglob("*"))
    result = keydistill("train", "assistant", judgments, "--items", items, *options, "--dry-run")
    assert result.status == 0, result.err
    assert "dry run: nothing was changed" in result.out
    plan = json.loads(
        keydistill("train", "assistant", judgments, "--items", items, *options, "--dry-run", "--json").out
    )
    assert plan["training"] + plan["held_out"] == 120
    scoring = ("score", judgments, "--items", items, "--assistant", tiny_assistant_folder, "--out", "scores.csv")
    assert "120, 0 rejected" in keydistill(*scoring, "--dry-run").out
    assert json.loads(keydistill(*scoring, "--dry-run", "--json").out)["pairs"] == 120
    assert sorted(tmp_path.rglob("*")) == before


def test_judgments_of_unknown_items(
    keydistill: Command, signals: tuple[Path, Path], options: list[object], tmp_path: Path
) -> None:
    judgments, items = signals
    with judgments.open("a") as file:
        file.write("nobody,fine shoes,yes\n")
    result = keydistill("train", "assistant", judgments, "--items", items, "--out", tmp_path / "a", *options)
    assert result.status == 0
    assert "1 of 121 rows cannot be used: 1 judge an item" in result.err
    with judgments.open("a") as file:
        file.writelines(f"nobody,fine shoes {number},yes\n" for number in range(20))
    result = keydistill("train", "assistant", judgments, "--items", items, "--out", tmp_path / "b", *options)
    assert result.status == 1
    assert "more than max_reject_share allows (5.00%)" in result.err
    assert len(result.err.splitlines()) == 1


def test_scoring_without_an_assistant_is_one_line(keydistill: Command, signals: tuple[Path, Path]) -> None:
    result = keydistill("score", signals[0], "--items", signals[1], "--out", "scores.csv")
    assert result.status == 2
    assert result.err == "error: no assistant was named; give --assistant, or set KEYDISTILL_ASSISTANT\n"


def test_an_assistant_that_there_is_not_is_one_line(keydistill: Command, signals: tuple[Path, Path]) -> None:
    result = keydistill("score", signals[0], "--items", signals[1], "--out", "scores.csv", "--assistant", "assistant/1")
    assert result.status == 1
    assert len(result.err.splitlines()) == 1
    result = keydistill("score", signals[0], "--items", signals[1], "--out", "scores.csv", "--assistant", "no-such")
    assert result.status == 1
    assert len(result.err.splitlines()) == 1


def test_help_of_training_imports_no_torch() -> None:
    code = (
        "import sys\nimport click\nfrom keydistill.cli.train import train\n"
        "for name in train.commands: train.commands[name].get_help(click.Context(train.commands[name]))\n"
        "sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
