import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.pairs import SCORE_SCHEMA, load_scores, plan_scoring, score_pairs, trust_of
from keydistill.encoders import Assistant
from keydistill.errors import InputChangedError, InputError, StorageError
from keydistill.tables import RejectLog
from tests.support.heard_progress import HeardProgress

WORDS = ["red", "blue", "shoes", "lamp", "iphone", "case", "usb", "cable", "watch", "old"]


@pytest.fixture(scope="module")
def assistant(tiny_assistant_folder: Path) -> Assistant:
    return Assistant.load(str(tiny_assistant_folder), device="cpu")


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "item_id": f"item-{number}",
            "keyphrase": " ".join(rng.choice(WORDS, rng.integers(1, 5))),
            "site": "US" if number % 3 else "",
            "title": " ".join(rng.choice(WORDS, rng.integers(3, 15))),
            "category_path": "A > B" if number % 2 else "",
        }
        for number in range(count)
    ]


def written(path: Path, pairs: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(pairs[0]))
        writer.writeheader()
        writer.writerows(pairs)
    return path


def test_scores_come_in_the_order_of_the_pairs(assistant: Assistant, tmp_path: Path) -> None:
    pairs = rows(130)
    summary = score_pairs(assistant, [written(tmp_path / "pairs.csv", pairs)], tmp_path / "out.parquet", chunk_pairs=50)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(SCORE_SCHEMA)
    assert table["item_id"].to_pylist() == [pair["item_id"] for pair in pairs]
    assert table["keyphrase"].to_pylist() == [pair["keyphrase"] for pair in pairs]
    assert table["site"].to_pylist() == [pair["site"] or None for pair in pairs]
    assert set(table["assistant"].to_pylist()) == {assistant.version}
    expected = assistant.score(
        [pair["title"] for pair in pairs],
        [pair["keyphrase"] for pair in pairs],
        [pair["category_path"] or None for pair in pairs],
    )
    assert expected.std() > 0.01
    np.testing.assert_allclose(table["score"].to_numpy(), expected, atol=1e-5)
    assert (summary.pairs, summary.computed, summary.reused, summary.rejected) == (130, 130, 0, 0)
    assert summary.mean_score == pytest.approx(float(expected.mean()), abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "pairs.csv"]


def test_titles_may_come_from_a_file_of_items(assistant: Assistant, tmp_path: Path) -> None:
    pairs = rows(20)
    bare = [{name: pair[name] for name in ("item_id", "keyphrase", "site")} for pair in pairs]
    items = [{name: pair[name] for name in ("item_id", "title", "category_path", "site")} for pair in pairs]
    titled, split_titles = tmp_path / "whole.jsonl", tmp_path / "split.jsonl"
    score_pairs(assistant, [written(tmp_path / "pairs.csv", pairs)], titled)
    score_pairs(
        assistant, [written(tmp_path / "bare.csv", bare)], split_titles, items=written(tmp_path / "items.csv", items)
    )
    assert split_titles.read_text() == titled.read_text()
    assert json.loads(titled.read_text().splitlines()[0])["item_id"] == "item-0"


def test_equal_pairs_are_scored_once(assistant: Assistant, tmp_path: Path) -> None:
    pairs = rows(10) * 7
    summary = score_pairs(assistant, [written(tmp_path / "pairs.csv", pairs)], tmp_path / "out.csv")
    assert (summary.pairs, summary.computed) == (70, 10)


def test_rows_that_are_no_pairs_are_kept_apart(assistant: Assistant, tmp_path: Path) -> None:
    pairs = rows(10)
    pairs[3]["keyphrase"] = ""
    out = tmp_path / "out.csv"
    summary = score_pairs(assistant, [written(tmp_path / "pairs.csv", pairs)], out)
    assert (summary.pairs, summary.rejected) == (9, 1)
    assert summary.rejects_file == tmp_path / "out.csv.rejects.parquet"
    assert pq.read_table(summary.rejects_file)["row"].to_pylist() == [4]
    assert score_pairs(assistant, [written(tmp_path / "pairs.csv", rows(5))], out).rejects_file is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "pairs.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
from keydistill.distillation.pairs import score_pairs
from keydistill.encoders import Assistant
from keydistill.progress import NoProgress

class Killing(NoProgress):
    advanced = 0

    def advance(self, count):
        self.advanced += count
        if self.advanced > 150:
            os.kill(os.getpid(), signal.SIGKILL)

folder, pairs, out = sys.argv[1:]
score_pairs(Assistant.load(folder, device="cpu"), [Path(pairs)], Path(out), chunk_pairs=50, progress=Killing())
"""


@pytest.fixture(scope="module")
def killed_once(tiny_assistant_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    pairs, out = written(folder / "pairs.csv", rows(230)), folder / "out.parquet"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tiny_assistant_folder, pairs, out], check=False, capture_output=True, text=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not out.exists()
    return folder


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """An output whose process was killed when three of five chunks were done."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out.parquet"


class Counting(Assistant):
    """Counts the pairs that it is asked for."""

    pairs_scored = 0

    def score(self, titles: Any, *rest: Any) -> Any:
        self.pairs_scored += len(titles)
        return super().score(titles, *rest)


@pytest.fixture
def counting(tiny_assistant_folder: Path) -> Counting:
    loaded = Counting.load(str(tiny_assistant_folder), device="cpu")
    assert isinstance(loaded, Counting)
    return loaded


def test_a_killed_scoring_scores_no_finished_chunk_again(
    killed: Path, assistant: Assistant, counting: Counting, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.csv"
    # What a process leaves that is killed while it writes.
    (tmp_path / ".out.parquet.scoring" / ".part-000003.99.parquet").write_bytes(b"PAR1 half")
    progress = HeardProgress()
    summary = score_pairs(counting, [pairs], killed, chunk_pairs=50, progress=progress)
    assert counting.pairs_scored == 80
    assert (summary.pairs, summary.reused, summary.computed, sum(progress.counts)) == (230, 150, 80, 230)
    score_pairs(assistant, [pairs], tmp_path / "whole.parquet", chunk_pairs=50)
    assert pq.read_table(killed).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not list(tmp_path.glob(".out*scoring"))


def test_other_pairs_begin_anew(killed: Path, counting: Counting, tmp_path: Path) -> None:
    changed = rows(230)
    changed[0]["keyphrase"] = "something else"
    summary = score_pairs(counting, [written(tmp_path / "pairs.csv", changed)], killed, chunk_pairs=50)
    assert (summary.reused, counting.pairs_scored) == (0, 230)


def test_another_assistant_begins_anew(killed: Path, tiny_assistant_folder: Path, tmp_path: Path) -> None:
    other = Counting.load(str(tiny_assistant_folder), device="cpu")
    other.version = "tiny-another"
    assert score_pairs(other, [tmp_path / "pairs.csv"], killed, chunk_pairs=50).reused == 0
    assert set(pq.read_table(killed)["assistant"].to_pylist()) == {"tiny-another"}


def test_a_file_that_changes_meanwhile_gives_no_output(assistant: Assistant, tmp_path: Path) -> None:
    pairs, out = written(tmp_path / "pairs.csv", rows(60)), tmp_path / "out.csv"

    def change() -> None:
        written(tmp_path / "new.csv", rows(60, seed=1)).replace(pairs)

    with pytest.raises(InputChangedError, match="changed while it was being read"):
        score_pairs(assistant, [pairs], out, progress=HeardProgress(change))
    assert not out.exists()


def test_one_process_at_a_time(assistant: Assistant, tmp_path: Path) -> None:
    pairs, out = written(tmp_path / "pairs.csv", rows(60)), tmp_path / "out.csv"

    def meanwhile() -> None:
        with pytest.raises(StorageError, match="another process is at work"):
            score_pairs(assistant, [pairs], out)

    assert score_pairs(assistant, [pairs], out, progress=HeardProgress(meanwhile)).pairs == 60


def test_bad_outputs_and_inputs_are_refused_before_anything_is_scored(counting: Counting, tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.csv", rows(5))
    with pytest.raises(InputError, match="unknown extension"):
        score_pairs(counting, [pairs], tmp_path / "out.xlsx")
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        score_pairs(counting, [tmp_path / "none.csv"], tmp_path / "out.csv")
    assert counting.pairs_scored == 0
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


def test_no_pairs_give_an_empty_table(assistant: Assistant, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("item_id,keyphrase,title\n")
    summary = score_pairs(assistant, [pairs], tmp_path / "out.parquet")
    assert (summary.pairs, summary.mean_score) == (0, 0.0)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_memory_does_not_grow_with_the_pairs(tmp_path: Path, counting: Counting) -> None:
    class Constant(Counting):
        def score(self, titles: Any, *rest: Any) -> Any:
            rest[-1].advance(len(titles))
            return np.full(len(titles), 0.5, dtype=np.float32)

    counting.__class__ = Constant
    peaks = []
    for count in (20_000, 100_000):
        path = tmp_path / f"{count}.parquet"
        numbers = np.arange(count)
        pq.write_table(
            pa.table(
                {
                    "item_id": pa.array(numbers.astype(str)),
                    "keyphrase": pa.array([f"keyphrase {number}" for number in numbers]),
                    "title": pa.array(["a title of some length"] * count),
                }
            ),
            path,
            row_group_size=5_000,
        )
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        most = [0]

        def look(most: list[int] = most, before: int = before) -> None:
            most[0] = max(most[0], pa.total_allocated_bytes() - before)

        out = tmp_path / "out.parquet"
        assert score_pairs(counting, [path], out, chunk_pairs=5_000, progress=HeardProgress(look)).pairs == count
        peaks.append(tracemalloc.get_traced_memory()[1] + most[0])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_a_plan_counts_and_measures(assistant: Assistant, tmp_path: Path) -> None:
    pairs = rows(30)
    pairs[3]["keyphrase"] = ""
    plan = plan_scoring(assistant, [written(tmp_path / "pairs.csv", pairs)])
    assert (plan.pairs, plan.rejected) == (29, 1)
    assert plan.seconds == pytest.approx(29 / plan.pairs_per_second)
    assert os.listdir(tmp_path) == ["pairs.csv"]


def test_what_an_assistant_can_be_trusted_with_travels_with_its_scores(
    tiny_assistant_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_assistant_folder, tmp_path / "assistant")
    within = {"auc_within": 0.58, "auc_within_low": 0.52, "auc_within_high": 0.63, "held_out_lists": 40}
    within |= {"auc_within_student": 0.6, "auc_within_gain": -0.02}
    within |= {"auc_within_gain_low": -0.05, "auc_within_gain_high": 0.01}
    metrics = {"auc": 0.6, "auc_low": 0.55, "auc_high": 0.65, **within, "approved_right": 0.7, "held_out_pairs": 400}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    pairs = written(tmp_path / "pairs.csv", rows(3))
    for name, assistant in (("a.csv", folder), ("b.jsonl", tiny_assistant_folder)):
        score_pairs(Assistant.load(str(assistant), device="cpu"), [pairs], tmp_path / name)
    assert trust_of(load_scores([tmp_path / "a.csv"], RejectLog())) == pytest.approx(metrics)
    assert trust_of(load_scores([tmp_path / "a.csv", tmp_path / "b.jsonl"], RejectLog())) == pytest.approx(metrics)
    # Of several assistants that with the worse order says all of it: one that is surely better than the student is not.
    better = {"auc_within": 0.57, "auc_within_low": 0.51, "auc_within_gain": 0.05, "auc_within_gain_low": 0.02}
    (folder / "metrics.json").write_text(json.dumps({**metrics, **better}))
    score_pairs(Assistant.load(str(folder), device="cpu"), [pairs], tmp_path / "c.csv")
    assert trust_of(load_scores([tmp_path / "a.csv", tmp_path / "c.csv"], RejectLog())) == pytest.approx(metrics)
    if not (tiny_assistant_folder / "metrics.json").exists():
        assert trust_of(load_scores([tmp_path / "b.jsonl"], RejectLog())) == {}
