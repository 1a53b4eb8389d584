"""Cross-validation of students by queries: nothing of a fold is learned, and all folds are one evaluation."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks import esci_students
from benchmarks.esci_folds import Fold, folds_of, pooled
from benchmarks.esci_students import measured
from keydistill.cli.main import cli
from keydistill.distillation.evaluation import compare_means, mean_estimates
from keydistill.distillation.registry import Lineage, Registry
from keydistill.encoders import Student
from tests.support.tiny_models import make_tiny_student

QUERIES = [f"query number {number}" for number in range(20)]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Fold]:
    """Two folds of queries of four items each; one item belongs to two queries, and two to a further query, too."""
    folder = tmp_path_factory.mktemp("esci")
    data = folder / "data"
    data.mkdir()
    pairs = [(query, f"i{place}-{rank}", "EISC"[rank]) for place, query in enumerate(QUERIES) for rank in range(4)]
    pairs.append((QUERIES[0], "i1-0", "E"))
    queries, items, labels = ([*column] for column in zip(*pairs, strict=True))
    split = ["test" if query in QUERIES[:5] else "train" for query in queries]
    ids = sorted(set(items))
    tables = {
        "judgments": {"query": queries, "item_id": items, "label": labels, "split": split},
        "items": {"item_id": ids, "title": [f"title of {item}" for item in ids]},
        "keyphrases": {"keyphrase": [*QUERIES, "further query", "nobody's"]},
        "extra_pairs": {
            "query": ["further query"] * 3,
            "item_id": ["i0-0", "i1-0", "new"],
            "title": ["one", "two", "three"],
            "label": ["E", "E", "E"],
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), data / f"{name}.parquet")

    def command(*arguments: object) -> None:
        done = CliRunner().invoke(cli, [*map(str, arguments)])
        assert done.exit_code == 0, done.output

    folds = folds_of(data, folder / "folds", 2)
    for fold in folds:
        fold.import_signals(data, command, quick=False)
    return folds


def test_nothing_of_a_fold_is_learned(folds: list[Fold]) -> None:
    assert sorted(query for fold in folds for query in fold.queries) == sorted(QUERIES)
    assert [len(fold.queries) for fold in folds] == [10, 10]
    for fold in folds:
        measured_pairs = pq.read_table(fold.test / "judgments.parquet")
        assert set(measured_pairs["keyphrase"].to_pylist()) == fold.queries
        assert pq.read_metadata(fold.test / "inventory.parquet").num_rows == 22
        measured_items = set(measured_pairs["item_id"].to_pylist())
        learned = {name: pq.read_table(fold.train / f"{name}.parquet") for name in ("judgments", "items", "inventory")}
        for table in (learned["judgments"], learned["inventory"]):
            assert fold.queries.isdisjoint(table["keyphrase"].to_pylist())
        for table in (learned["judgments"], learned["items"]):
            assert measured_items.isdisjoint(table["item_id"].to_pylist())
        assert "new" in learned["items"]["item_id"].to_pylist()


def test_the_split_of_the_data_is_one_fold(folds: list[Fold], tmp_path: Path) -> None:
    (fold,) = folds_of(folds[0].folder.parents[1] / "data", tmp_path, None)
    assert fold == Fold(tmp_path, frozenset(QUERIES[:5]))


def test_recipes_are_compared_and_what_is_kept_is_not_trained_again(
    folds: list[Fold], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[tuple[str, ...]] = []

    def command(*arguments: object) -> None:
        trained.append(tuple(map(str, arguments)))
        out = Path(str(arguments[-1])) if "train" in arguments else Path(str(arguments[1]))
        seed = next(int(option[-1]) for option in trained[-1] if option.startswith("--seed="))
        if "train" in arguments:
            make_tiny_student(out, seed)
        else:
            student = make_tiny_student(out / "student", 10 + seed)
            metrics: dict[str, object] = {"evaluation": {}}
            Registry(out / "models").publish(
                "student", student, lineage=Lineage.collect({}, {}, seed=seed), metrics=metrics
            )

    monkeypatch.setattr(esci_students, "_command", command)
    monkeypatch.setattr(esci_students, "_BASE", str(tiny_folder))
    kept = folds[0].folder.parent
    figures = kept / "figures.json"
    options = ["--data", str(kept.parent / "data"), "--folds", "2", "--seeds", "1", "--keep", str(kept)]
    recipes = ["--recipe", "one", "--recipe", "two:--layers=1,--weight=assistant=0"]
    monkeypatch.setattr("sys.argv", ["esci_students", *options, *recipes, "--json", str(figures)])
    esci_students.main()
    assert len(trained) == 2 * 3
    assert trained[2][2:] == ("retrain", str(folds[0].train), "--seed=0", "--layers=1", "--weight=assistant=0")
    printed = capsys.readouterr().out
    assert "1 training of each, 81 judged items of 20 queries" in printed
    content = json.loads(figures.read_text())
    assert set(content["differences"]) == {"untrained", "one", "two"}
    assert content["differences"]["one"]["auc_per_keyphrase"]["low"] is not None
    esci_students.main()
    assert len(trained) == 2 * 3
    assert json.loads(figures.read_text())["differences"] == content["differences"]


def test_intervals_are_over_the_queries_of_all_folds(folds: list[Fold], tiny_student: Student, tmp_path: Path) -> None:
    students = [tiny_student, Student.load(str(make_tiny_student(tmp_path / "other", 1)))]
    by_student = [[measured(student, fold.test) for fold in folds] for student in students]
    a, b = map(pooled, by_student)
    assert len(a.keyphrases) == 20
    assert len(a.item_ids) == sum(len(each.item_ids) for each in by_student[0])
    assert a.sampling.drawn == "keyphrases"
    estimates = mean_estimates([a])
    for name in ("recall@10", "auc_per_keyphrase", "pair_ndcg@10"):
        parts = [each.measures[name] for each in by_student[0]]
        total = sum(part.numerators.sum() for part in parts) / sum(part.denominators.sum() for part in parts)
        assert estimates[name].value == pytest.approx(total)
    assert estimates["recall@10 kept at 128"].value == 1
    labels = {
        (a.item_ids[item].partition(": ")[2], a.keyphrases[keyphrase])
        for item, keyphrase in zip(a.pairs.items, a.pairs.keyphrases, strict=True)  # type: ignore[union-attr]
    }
    assert labels == {
        (row["item_id"], row["keyphrase"])
        for fold in folds
        for row in pq.read_table(fold.test / "judgments.parquet").to_pylist()
    }
    gap = compare_means([a], [b]).differences["auc_per_keyphrase"]
    means = [np.mean([one.measures["auc_per_keyphrase"].numerators for one in each]) for each in by_student]
    assert gap.difference == pytest.approx(means[1] - means[0])
