"""Smaller students: what three layers, and a table for keyphrases, keep of six layers' quality, and how fast they are.

    python -m benchmarks.shapes [--seeds 1] [--items 300] [--keyphrases 3000] [--quick] [--json FILE]

Students of all shapes learn by the same recipe on the same simulated marketplaces, and are measured by the truth on
items that none of them has seen, as in `benchmarks.ablation`. Rates are those of keyphrases, from text to normalised
vector, against `SentenceTransformer.encode` of the six-layer student with the batch size that is fastest here. Every
repeat measures all methods in turn, so that what else the machine does meets all of them; ratios are those within a
repeat, by the clock and per second of CPU time, which holds on a machine that others use too.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from sentence_transformers import SentenceTransformer

from benchmarks import report
from benchmarks.ablation_data import Task, simulated_task
from benchmarks.embedding import RUNTIMES, Embed, best_batch_size, rates_in_turn, ratios, simulated_keyphrases
from keydistill.distillation import SHAPE_NAMES
from keydistill.distillation.evaluation import Evaluation, compare_means, evaluate, mean_estimates
from keydistill.distillation.student import StudentRecipe, train_student
from keydistill.encoders import Student

_FULL = "six"
# What the full recipe learns from.
_TASKS = ("clicks", "search_relevance", "assistant", "approved")
# Runtimes of a transformer that keyphrases are embedded with; a table has but one.
_ENCODE = "SentenceTransformer.encode, six"
# A table takes milliseconds for what a transformer takes seconds for: it gets as many times the keyphrases.
_MORE_FOR_A_TABLE = 25


@dataclass(slots=True)
class Found:
    """The students of a shape, one per seed, and what they are worth."""

    folders: list[Path] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Train, measure quality and speed, print."""
    parser = report.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=1, help="marketplaces, and trainings of each shape")
    parser.add_argument("--first-seed", type=int, default=0, help="shape static was tuned on 0")
    parser.add_argument("--items", type=int, default=300, help="of each marketplace")
    parser.add_argument("--keyphrases", type=int, default=3_000, help="of each marketplace")
    parser.add_argument("--embedded", type=int, help="keyphrases per measurement of a rate  [default: 1000]")
    parser.add_argument("--repeats", type=int, help="measurements of each rate  [default: 7]")
    parser.add_argument("--threads", type=int, help="for arithmetic  [default: one per core]")
    parser.add_argument(
        "--clicks-share",
        type=float,
        default=StudentRecipe().clicks_share,
        help="of a second student of each shape, of clicks alone, in the weights; 0 trains none",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep pairs, scores and students there")
    parser.add_argument("--no-rates", action="store_true", help="measure quality alone")
    parser.add_argument("--no-training", action="store_true", help="measure the students that --keep has")
    options = parser.parse_args()
    before = report.machine()
    threads = options.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    size = (100, 1_000) if options.quick else (options.items, options.keyphrases)
    found: dict[str, Found] = {shape: Found() for shape in SHAPE_NAMES}
    with tempfile.TemporaryDirectory(prefix="keydistill-") as scratch:
        place = options.keep or Path(scratch)
        for seed in range(options.first_seed, options.first_seed + (1 if options.quick else options.seeds)):
            folder = place / f"simulation-{seed}"
            task = simulated_task(folder, seed, *size, quick=options.quick)
            for shape, each in found.items():
                out = folder / "students" / shape
                each.seconds.append(0.0 if options.no_training else _train(task, shape, out, options.clicks_share))
                each.folders.append(out)
                each.evaluations.append(_measured(task, out))
            _print_quality(found)
        rates = None
        if not options.no_rates:
            folders = {shape: each.folders[0] for shape, each in found.items()}
            rates = _rates(folders, options, threads, place / "runtimes")
            _print_rates(rates)
    report.write(options.json, {"quality": _figures(found), "rates": rates}, before)


def _train(task: Task, shape: str, out: Path, clicks_share: float) -> float:
    recipe = replace(
        task.recipe,
        shape=shape,
        clicks_share=clicks_share,
        weights={name: weight for name, weight in task.recipe.weights.items() if name in _TASKS},
    )
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    train_student(task.data_of(1.0, 1, {}), out, recipe)
    return time.monotonic() - began


def _measured(task: Task, student: Path) -> Evaluation:
    return evaluate(
        Student.load(str(student)),
        task.items,
        task.inventory,
        judge=task.judge,
        labels=task.labels,
        k=task.cutoffs,
        dimensions=[128],
    )


def _figures(found: Mapping[str, Found]) -> dict[str, Any]:
    """Per shape: means with intervals, what it has of the full student's, and the paired differences from it."""
    full = found[_FULL].evaluations
    figures: dict[str, Any] = {}
    for shape, each in found.items():
        means, of_full = mean_estimates(each.evaluations), mean_estimates(full)
        figures[shape] = {
            "seconds": each.seconds,
            "mean": {measure: value.as_list() for measure, value in means.items()},
            "ratio": {measure: _share(means[measure].value, of_full[measure].value) for measure in means},
            "less_six": {
                measure: difference.as_dict()
                for measure, difference in compare_means(full, each.evaluations).differences.items()
            },
            "kept_at_128": _kept(each.evaluations, "recall@10"),
            "seeds": [evaluation.summary() for evaluation in each.evaluations],
        }
    return figures


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _kept(evaluations: Sequence[Evaluation], measure: str) -> float | None:
    """What 128 dimensions have of a figure."""
    whole, cut = (
        sum(cast(float, of[measure].value) for of in several)
        for several in (
            [each.estimates for each in evaluations],
            [each.dimensions[128] for each in evaluations],
        )
    )
    return _share(cut, whole)


def _rates(
    folders: Mapping[str, Path], options: argparse.Namespace, threads: int, cache: Path
) -> dict[str, dict[str, Any]]:
    """Keyphrases per second of every shape and runtime, and their ratios to `encode` of the full student."""
    count = options.embedded or (200 if options.quick else 1_000)
    many = simulated_keyphrases(count * _MORE_FOR_A_TABLE)
    few = many[:count]
    encoder = SentenceTransformer(str(folders[_FULL]), device="cpu", local_files_only=True)
    size = best_batch_size(encoder, few)
    methods: dict[str, tuple[Embed, Sequence[str]]] = {
        _ENCODE: (lambda texts: encoder.encode(list(texts), batch_size=size), few)
    }
    for shape, folder in folders.items():
        for wanted in RUNTIMES["cpu"]:
            student = Student.load(str(folder), device="cpu", threads=threads, runtime=wanted, cache=cache)
            if student.is_asymmetric:
                methods[shape] = (student.embed_keyphrases, many)
                break
            methods[f"{shape}, {student.runtime}"] = (student.embed_keyphrases, few)
    by_clock, by_cpu = rates_in_turn(methods, options.repeats or (3 if options.quick else 7))
    return {
        name: {
            "keyphrases": len(methods[name][1]),
            "keyphrases_per_second": report.spread(by_clock[name]),
            "ratio": ratios(by_clock[name], by_clock[_ENCODE]),
            "keyphrases_per_cpu_second": report.spread(by_cpu[name]),
            "cpu_ratio": ratios(by_cpu[name], by_cpu[_ENCODE]),
            **({"batch_size": size} if name == _ENCODE else {}),
        }
        for name in methods
    }


def _print_quality(found: Mapping[str, Found]) -> None:
    figures = _figures(found)
    rows = []
    for shape, each in figures.items():
        row: list[str] = [shape]
        for measure in ("precision@10", "recall@10"):
            value, low, high = each["mean"][measure][:3]
            row += [f"{value:.3f} [{low:.3f}, {high:.3f}]", f"{each['ratio'][measure]:.1%}"]
        less = each["less_six"]["precision@10"]
        row += [f"{less['difference']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]" if shape != _FULL else ""]
        rows.append([*row, f"{each['kept_at_128']:.1%}", f"{report.spread(each['seconds'])['median']:.0f}"])
    report.table(
        ("shape", "precision@10", "of six", "recall@10", "of six", "precision@10 less six", "at 128", "seconds"), rows
    )
    seeds = len(found[_FULL].evaluations)
    print(f"mean of {seeds} {'seed' if seeds == 1 else 'seeds'} [95% interval over items]\n", flush=True)


def _print_rates(rates: Mapping[str, Mapping[str, Any]]) -> None:
    report.table(
        ("method", "keyphrases/s", "ratio", "min-max", "per CPU second", "ratio"),
        [
            (
                name,
                f"{found['keyphrases_per_second']['median']:,.0f}",
                f"{found['ratio']['median']:.2f}",
                f"{found['ratio']['min']:.2f}-{found['ratio']['max']:.2f}",
                f"{found['keyphrases_per_cpu_second']['median']:,.0f}",
                f"{found['cpu_ratio']['median']:.2f}",
            )
            for name, found in rates.items()
        ],
    )
    encode = rates[_ENCODE]
    print(
        f"medians of {encode['ratio']['repeats']} repeats; {encode['keyphrases']:,} keyphrases, for a table "
        f"{_MORE_FOR_A_TABLE} times as many; encode in batches of {encode['batch_size']}"
    )


if __name__ == "__main__":
    main()
