"""What each part of the recipe is worth: students trained on ever more signals, and with each distillation loss.

On a simulated marketplace (true precision@10 and recall@10), or with `--esci FOLDER` on real judged queries: trained on
the split "train" and the extra pairs, measured on "test". Real data has no clicks and no search filter; there the
"clicks" are the pairs judged exact, and the search score is the share of a query's words that the title has, rare words
counting more: both are simulated.

    python -m benchmarks.ablation --seeds 3
    python -m benchmarks.ablation --esci FOLDER --seeds 1
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.ablation_data import Task, esci_task, simulated_task
from distillation import StudentRecipe, train_student
from distillation.evaluation import Evaluation, evaluate
from distillation.evaluation.bootstrap import estimate, ratios
from encoders import Student


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: which signals a student learns from, and how."""

    name: str
    tasks: tuple[str, ...]
    loss: str = "pearson"


ROWS = (
    Row("clicks", ("clicks",)),
    Row("+ search relevance", ("clicks", "search_relevance")),
    Row("+ judge, directly", ("clicks", "search_relevance", "judgments")),
    Row("+ assistant, Pearson", ("clicks", "search_relevance", "assistant"), "pearson"),
    Row("+ assistant, MarginMSE", ("clicks", "search_relevance", "assistant"), "margin_mse"),
    Row("+ assistant, CoSENT", ("clicks", "search_relevance", "assistant"), "cosent"),
    Row("+ assistant, KL", ("clicks", "search_relevance", "assistant"), "kl"),
)


def main() -> None:
    """Train, measure, print."""
    parser = report.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--esci", type=Path, metavar="FOLDER", help="judged queries instead of a simulation")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row")
    parser.add_argument("--rows", nargs="*", help="only rows whose name has one of these words")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep mined pairs, scores and students there")
    options = parser.parse_args()
    before = report.machine()
    rows = [row for row in ROWS if not options.rows or any(word in row.name for word in options.rows)]
    seeds = range(1 if options.quick else options.seeds)
    with tempfile.TemporaryDirectory(prefix="keydistill-") as scratch:
        folder = options.keep or Path(scratch)
        found: dict[str, list[Evaluation]] = {}
        seconds: dict[str, list[float]] = {}
        for seed in seeds:
            task = esci_task(options.esci, folder / f"esci-{seed}", seed, quick=options.quick) if options.esci else (
                simulated_task(folder / f"simulation-{seed}", seed, quick=options.quick)
            )
            _note(found, seconds, "untrained", _measure(task, Student.load(task.base)), 0.0)
            for row in rows:
                began = time.monotonic()
                student = _trained(task, row, folder / f"student-{seed}", quick=options.quick)
                _note(found, seconds, row.name, _measure(task, student), time.monotonic() - began)
                _print(task, found, seconds)
            _note(found, seconds, "assistant (upper line)", task.upper_line(student), 0.0)
        _print(task, found, seconds)
    report.write(
        options.json,
        {
            name: {"seconds": seconds[name], "runs": [run.summary() for run in runs]} for name, runs in found.items()
        },
        before,
    )


def _trained(task: Task, row: Row, out: Path, *, quick: bool) -> Student:
    recipe: StudentRecipe = replace(
        task.recipe,
        distillation_loss=row.loss,  # type: ignore[arg-type]
        weights={name: weight for name, weight in task.recipe.weights.items() if name in row.tasks},
    )
    # What the assistant calls relevant is no negative, but only a student that has the assistant knows that.
    data = task.data if "assistant" in row.tasks else replace(task.data, relevant=None)
    shutil.rmtree(out, ignore_errors=True)
    trained = train_student(data, out, replace(recipe, epochs=0.2) if quick else recipe)
    return Student.load(str(trained.folder))


def _measure(task: Task, student: Student) -> Evaluation:
    return evaluate(student, task.items, task.inventory, judge=task.judge, labels=task.labels, k=task.cutoffs,
                    dimensions=[size for size in (128,) if size < student.dimension])


def _note(
    found: dict[str, list[Evaluation]], seconds: dict[str, list[float]], name: str, evaluation: Evaluation, took: float
) -> None:
    found.setdefault(name, []).append(evaluation)
    seconds.setdefault(name, []).append(took)


def _pooled(runs: Sequence[Evaluation], measure: str) -> str:
    """Mean over seeds, and the interval of a bootstrap over all items of all seeds."""
    parts = [run.measures[measure] for run in runs if measure in run.measures]
    if not parts:
        values = [run.estimates[measure].value for run in runs if measure in run.estimates]
        known = [value for value in values if value is not None]
        return f"{np.mean(known):.3f}" if known else "-"
    above = np.concatenate([part.numerators for part in parts])[:, None]
    below = np.concatenate([part.denominators for part in parts])[:, None]
    whole = estimate(float(above.sum() / below.sum()), ratios(above, below, seed=0)[:, 0])
    return f"{whole.value:.3f} [{whole.low:.3f}, {whole.high:.3f}]"


def _print(task: Task, found: dict[str, list[Evaluation]], seconds: dict[str, list[float]]) -> None:
    rows: list[list[str]] = []
    for name, runs in found.items():
        at_128 = [run.dimensions[128][task.kept].value for run in runs if 128 in run.dimensions]
        full = [run.estimates[task.kept].value for run in runs]
        kept = f"{np.mean(at_128) / np.mean(full):.3f}" if at_128 else "-"  # type: ignore[arg-type]
        rows.append([name, *(_pooled(runs, measure) for measure in task.measures), kept, f"{np.mean(seconds[name]):.0f}"])
    print()
    report.table(["student", *task.measures, f"{task.kept} kept at 128", "seconds"], rows)
    print(f"{len(next(iter(found.values())))} seeds", flush=True)


if __name__ == "__main__":
    main()
