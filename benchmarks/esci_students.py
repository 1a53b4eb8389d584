"""Students on real judged queries, made by the product's own commands alone: `signals import esci`, `retrain`.

    python -m benchmarks.esci_students --data FOLDER [--folds 5] [--recipe NAME:OPTIONS ...] [--keep FOLDER] ...

FOLDER is that of `benchmarks.esci`. Without `--folds`, everything is learned from the queries of the split "train" and
measured on those of "test". With it, all judged queries are divided into folds, and each is measured by students that
learned from the others; figures and intervals are over the queries of all folds. Of the queries that are measured, and
of the items that are judged for them, nothing is learned, not even as a negative; they are in the inventory that is
recommended from. Compared are the untrained base, plain fine-tuning of the exact pairs (`train student --judgments`
without the grades), and what `retrain` makes of the same signals, by one recipe or several.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import report
from benchmarks.ablation import figure
from benchmarks.esci_folds import Fold, folds_of, pooled
from keydistill.distillation.evaluation import (
    Difference,
    Estimate,
    Evaluation,
    LabelJudge,
    Measure,
    compare_means,
    evaluate,
    mean_estimates,
    read_evaluation,
)
from keydistill.distillation.registry import Registry
from keydistill.encoders import Student, Vectors
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.settings import load_settings

_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_CUT, _KEPT = 128, "recall@10 kept at 128"
_MEASURES = ("recall@10", "recall@50", "auc_per_keyphrase", "pair_ndcg@10", _KEPT)
_UNTRAINED, _PLAIN = "untrained", "plain"
_EVALUATION, _OPTIONS = "evaluation.json", "options.json"

# Student to seed to evaluations, one per fold.
Evaluations = dict[str, dict[int, list[Evaluation]]]


def main() -> None:
    """Import, train, measure, print."""
    parser = report.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of the Parquet files")
    parser.add_argument("--folds", type=int, help="cross-validation by queries; without it, the data's own split")
    parser.add_argument("--fold", type=int, action="append", help="train and measure only that fold, from 0 on")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each student, of the seeds from 0 on")
    parser.add_argument("--layers", type=int, help="of the students; without it, all of the base's")
    parser.add_argument("--epochs", type=float, help="of the students")
    parser.add_argument(
        "--recipe",
        action="append",
        metavar="NAME:OPTIONS",
        help="a student by `retrain` with these options, as narrow:--layers=3,--seeds=2; without any: retrain",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep signals, students and figures there, and use them again"
    )
    options = parser.parse_args()
    recipes = _recipes(parser, options.recipe or ["retrain"])
    before = report.machine()
    evaluations: Evaluations = {}
    with tempfile.TemporaryDirectory(prefix="keydistill-") as scratch:
        folds = folds_of(options.data, options.keep or Path(scratch), options.folds)
        chosen = options.fold or range(len(folds))
        for seed in range(1 if options.quick else options.seeds):
            for number in chosen:
                folds[number].import_signals(options.data, _command, quick=options.quick)
                for name, each in students(recipes, seed, options).items():
                    of_seed = evaluations.setdefault(name, {}).setdefault(seed, [])
                    of_seed.append(evaluated(name, each, folds[number], seed))
            figures = {name: list(map(pooled, by_seed.values())) for name, by_seed in evaluations.items()}
            verdicts = _print(figures)
    report.write(
        options.json,
        {
            **{
                name: {
                    "mean": {measure: value.as_list() for measure, value in mean_estimates(each).items()},
                    "seeds": [
                        {measure: value.as_list() for measure, value in mean_estimates([one]).items()} for one in each
                    ],
                }
                for name, each in figures.items()
            },
            "differences": {
                name: {measure: gap.as_dict() for measure, gap in each.items()} for name, each in verdicts.items()
            },
        },
        before,
    )


def students(
    recipes: Mapping[str, Sequence[str]], seed: int, options: argparse.Namespace
) -> dict[str, tuple[str, ...]]:
    """The options that each student of a seed is trained with; the base has one seed and no options."""
    layers = () if options.layers is None else (f"--layers={options.layers}",)
    epochs = 0.1 if options.quick else options.epochs
    short = (*layers, *(() if epochs is None else (f"--epochs={epochs}",)), f"--seed={seed}")
    return {
        **({_UNTRAINED: ()} if seed == 0 else {}),
        _PLAIN: short,
        **{name: (*short, *further) for name, further in recipes.items()},
    }


def evaluated(name: str, options: Sequence[str], fold: Fold, seed: int) -> Evaluation:
    """The evaluation of a student, which is trained first; both are kept, and hold for the same options."""
    folder = fold.folder / f"{name}-{seed}"
    record, evaluation = folder / _OPTIONS, folder / _EVALUATION
    if record.is_file() and json.loads(record.read_text()) == list(options):
        return read_evaluation(evaluation)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    judgments = fold.train / "judgments.parquet"
    if name == _UNTRAINED:
        source = _BASE
    elif name == _PLAIN:
        source = str(folder / "model")
        given = ("--items", fold.train / "items.parquet", "--judgments", judgments, "--weight", "judgments=0")
        _command("train", "student", *given, *options, "--out", source)
    else:
        _command("--home", folder, "retrain", fold.train, *options)
        # With `--seeds` among the options, the students of each seed are there, too.
        versions = Registry.of(load_settings(home=folder)).versions("student")
        source = str(next(each.folder for each in versions if "evaluation" in each.metrics))
    result = measured(Student.load(source), fold.test)
    evaluation.write_text(json.dumps(result.as_dict()))
    record.write_text(json.dumps(options))
    return result


def measured(student: Student, test: Path) -> Evaluation:
    """A student on the judged items of a fold and the whole inventory, with all its dimensions and the first 128."""
    labels = pq.read_table(test / "judgments.parquet")
    items = pq.read_table(test / "items.parquet")
    items = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(labels["item_id"])))
    inventory = pq.read_table(test / "inventory.parquet", columns=["keyphrase"])
    once = _EmbeddedOnce(student)
    full, cut = (
        evaluate(
            cast(Student, once.cut_to(dimension)),
            items,
            inventory,
            judge=LabelJudge(labels, name="ESCI"),
            labels=labels,
            k=(10, 50),
        )
        for dimension in (student.dimension, min(_CUT, student.dimension))
    )
    kept = Measure("item", cut.measures["recall@10"].numerators, full.measures["recall@10"].numerators)
    return replace(full, measures={**full.measures, _KEPT: kept})


class _EmbeddedOnce:
    """A student whose vectors of the same texts are computed once for all dimensions."""

    def __init__(self, student: Student) -> None:
        self._student = student
        self._vectors: dict[str, Vectors] = {}
        self.version, self.dimension, self.item_text = student.version, student.dimension, student.item_text

    def cut_to(self, dimension: int) -> Self:
        self.dimension = dimension
        return self

    def embed_keyphrases(self, keyphrases: Sequence[str], progress: Progress = NO_PROGRESS) -> Vectors:
        if "keyphrases" not in self._vectors:
            self._vectors["keyphrases"] = self._student.embed_keyphrases(keyphrases, progress)
        return self._cut("keyphrases")

    def embed_items(self, *items: Any) -> Vectors:
        if "items" not in self._vectors:
            self._vectors["items"] = self._student.embed_items(*items)
        return self._cut("items")

    def _cut(self, of: str) -> Vectors:
        cut = self._vectors[of][:, : self.dimension]
        return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True), dtype=np.float32)


def _recipes(parser: argparse.ArgumentParser, given: Sequence[str]) -> dict[str, list[str]]:
    recipes: dict[str, list[str]] = {}
    for recipe in given:
        name, _, further = recipe.partition(":")
        if not re.fullmatch(r"[\w.+-]+", name) or name in (_UNTRAINED, _PLAIN, *recipes):
            parser.error(f"--recipe {recipe}: expected a name of its own, a colon, and options of `retrain`")
        recipes[name] = re.split(r",(?=--)", further) if further else []
    return recipes


def _command(*arguments: object) -> None:
    command = [sys.executable, "-m", "keydistill.cli.main", *map(str, arguments)]
    print("$ keydistill", *command[3:], flush=True)
    subprocess.run(command, check=True)


def _print(figures: Mapping[str, Sequence[Evaluation]]) -> dict[str, Mapping[str, Difference]]:
    """The figures of all students, and what each differs by from plain fine-tuning."""
    means = {name: mean_estimates(each) for name, each in figures.items()}
    rows = [
        [name, *(figure(mean.get(measure, Estimate(None))) for measure in _MEASURES)] for name, mean in means.items()
    ]
    print()
    report.table(["student", *_MEASURES], rows)
    plain = figures[_PLAIN]
    first = plain[0]
    trainings = f"{len(plain)} {'training' if len(plain) == 1 else 'trainings'} of each"
    print(f"{trainings}, {len(first.item_ids):,} judged items of {len(first.keyphrases):,} queries")
    # The base has no seeds.
    verdicts = {
        name: compare_means(plain[: len(each)], each).differences for name, each in figures.items() if name != _PLAIN
    }
    print()
    report.table(
        [f"less {_PLAIN}", *_MEASURES],
        [[name, *(_gap(gaps.get(measure)) for measure in _MEASURES)] for name, gaps in verdicts.items()],
    )
    sys.stdout.flush()
    return verdicts


def _gap(gap: Difference | None) -> str:
    if gap is None or gap.difference is None:
        return "-"
    return f"{gap.difference:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


if __name__ == "__main__":
    main()
