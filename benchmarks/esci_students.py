"""Students on real judged queries, made by the product's own commands alone: `signals import esci`, `retrain`.

    python -m benchmarks.esci_students --data FOLDER [--seeds N] [--layers 3] [--keep FOLDER] [--json FILE]

FOLDER is that of `benchmarks.esci`. Everything is learned from the queries of the split "train", and measured on those
of "test". Nothing is learned of these, not even as a negative: they and their items are taken out of what is imported
for the training, and are in the inventory that is recommended from. Compared are the untrained base, plain fine-tuning
of the exact pairs (`train student --judgments` without the grades), and what `retrain` makes of the same folder.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import report
from benchmarks.ablation import figure, kept
from keydistill.distillation.evaluation import (
    Difference,
    Estimate,
    Evaluation,
    LabelJudge,
    compare_means,
    evaluate,
    mean_estimates,
)
from keydistill.distillation.registry import Registry
from keydistill.encoders import Student
from keydistill.settings import load_settings
from keydistill.tables import normalize_keyphrase

_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_MEASURES = ("recall@10", "recall@50", "auc_per_keyphrase", "pair_ndcg@10")
_UNTRAINED, _PLAIN, _RETRAINED = "untrained", "exact pairs", "retrain"


def main() -> None:
    """Import, train, measure, print."""
    parser = report.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of the Parquet files")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each student")
    parser.add_argument("--layers", type=int, help="of the students; without it, all of the base's")
    parser.add_argument("--epochs", type=float, help="of the students")
    parser.add_argument(
        "--retrain", action="append", default=[], metavar="OPTION", help="further options of `retrain`, as --a=b"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep signals and students there, and use them again"
    )
    options = parser.parse_args()
    before = report.machine()
    evaluations: dict[str, list[Evaluation]] = {}
    with tempfile.TemporaryDirectory(prefix="keydistill-") as scratch:
        folder = options.keep or Path(scratch)
        train, test = imported(options.data, folder, quick=options.quick)
        for seed in range(1 if options.quick else options.seeds):
            for name, student in students(train, folder, seed, options):
                evaluations.setdefault(name, []).append(measured(student, test))
                _print(evaluations)
    verdicts: Mapping[str, Difference] = {}
    if len(evaluations.get(_RETRAINED, ())) == len(evaluations[_PLAIN]):
        verdicts = compare_means(evaluations[_PLAIN], evaluations[_RETRAINED]).differences
        for measure in (*_MEASURES, "auc"):
            if (gap := verdicts.get(measure)) is not None:
                print(f"{_RETRAINED} less {_PLAIN}: {measure} {gap.difference:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
    figures = {
        name: {measure: value.as_list() for measure, value in mean_estimates(each).items()}
        for name, each in evaluations.items()
    }
    report.write(
        options.json, {**figures, "differences": {name: gap.as_dict() for name, gap in verdicts.items()}}, before
    )


def imported(data: Path, folder: Path, *, quick: bool) -> tuple[Path, Path]:
    """The signals of both splits; those of the training have no query of the test split."""
    train, test = folder / "train", folder / "test"
    if train.is_dir() and test.is_dir():
        return train, test
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(data, source, copy_function=shutil.copyfile)
    if quick:
        keyphrases = pq.read_table(source / "keyphrases.parquet")
        pq.write_table(keyphrases.slice(0, 1_000), source / "keyphrases.parquet")
    _command("signals", "import", "esci", source, "--split", "test", "--out", test, "--force")
    judged = pq.read_table(test / "judgments.parquet", columns=["keyphrase", "item_id"])
    unseen = set(judged["keyphrase"].to_pylist())
    catalogue = pq.read_table(source / "items.parquet")
    is_unseen = pc.is_in(catalogue["item_id"].cast(pa.string()), value_set=pc.unique(judged["item_id"]))
    pq.write_table(catalogue.filter(pc.invert(is_unseen)), source / "items.parquet")
    for name, column in (("keyphrases", "keyphrase"), ("queries", "query")):
        file = source / f"{name}.parquet"
        if file.is_file():
            table = pq.read_table(file)
            is_seen = [normalize_keyphrase(text) not in unseen for text in table[column].to_pylist()]
            pq.write_table(table.filter(pa.array(is_seen)), file)
    _command("signals", "import", "esci", source, "--split", "train", "--out", train, "--force")
    return train, test


def students(train: Path, folder: Path, seed: int, options: argparse.Namespace) -> list[tuple[str, Student]]:
    """The base, and both students of a seed; what is in the folder already is not trained again."""
    layers = () if options.layers is None else ("--layers", options.layers)
    epochs = ("--epochs", 0.1 if options.quick else options.epochs)
    short = (*layers, *(epochs if epochs[1] is not None else ()), "--seed", seed)
    plain, home = folder / f"plain-{seed}", folder / f"home-{seed}"
    judgments = train / "judgments.parquet"
    if not plain.exists():
        given = ("--items", train / "items.parquet", "--judgments", judgments, "--weight", "judgments=0")
        _command("train", "student", *given, *short, "--out", plain)
    registry = Registry.of(load_settings(home=home))
    if not registry.versions("student"):
        _command("--home", home, "retrain", train, "--labels", judgments, *short, *options.retrain)
    # With `--seeds` among the options, the students of each seed are there, too.
    retrained = next(each.folder for each in registry.versions("student") if "evaluation" in each.metrics)
    return [
        *([(_UNTRAINED, Student.load(_BASE))] if seed == 0 else []),
        (_PLAIN, Student.load(str(plain))),
        (_RETRAINED, Student.load(str(retrained))),
    ]


def measured(student: Student, test: Path) -> Evaluation:
    """A student on the judged items of the test split, and the whole inventory."""
    labels = pq.read_table(test / "judgments.parquet")
    items = pq.read_table(test / "items.parquet")
    items = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(labels["item_id"])))
    inventory = pq.read_table(test / "inventory.parquet", columns=["keyphrase"])
    judge = LabelJudge(labels, name="ESCI")
    cut = [size for size in (128,) if size < student.dimension]
    return evaluate(student, items, inventory, judge=judge, labels=labels, k=(10, 50), dimensions=cut)


def _command(*arguments: object) -> None:
    command = [sys.executable, "-m", "keydistill.cli.main", *map(str, arguments)]
    print("$ keydistill", *command[3:], flush=True)
    subprocess.run(command, check=True)


def _print(evaluations: dict[str, list[Evaluation]]) -> None:
    rows = []
    for name, each in evaluations.items():
        figures = mean_estimates(each)
        shown = [figure(figures.get(measure, Estimate(None))) for measure in _MEASURES]
        rows.append([name, *shown, kept(each, "recall@10")])
    print()
    report.table(["student", *_MEASURES, "recall@10 kept at 128"], rows)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
