"""What each part of the recipe is worth: students of ever more signals, and of each distillation loss.

On simulated marketplaces, where the truth is known; `benchmarks.esci_students` has students of real judged queries.

    python -m benchmarks.ablation --seeds 3
"""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from benchmarks import report
from benchmarks.ablation_data import Task, simulated_task
from keydistill.distillation.evaluation import (
    AssistantJudge,
    Difference,
    Estimate,
    Evaluation,
    compare_means,
    evaluate,
    mean_estimates,
)
from keydistill.distillation.losses import LossName
from keydistill.distillation.pairs import MiningRecipe
from keydistill.distillation.student import (
    StudentRecipe,
    average_students,
    members_folder,
    student_training_digest,
    train_student,
)
from keydistill.encoders import Student

_SIGNALS = ("clicks", "search_relevance")
_ASSISTANT = (*_SIGNALS, "assistant", "approved")


@dataclass(frozen=True, slots=True)
class Row:
    """A student of the table: the tasks it learns, the loss of the assistant's scores, and what else is chosen.

    It learns a share of the pairs that are scored, by the mean of so many assistants; `mining` has what is mined
    otherwise than by default, and scored by the assistant that learned the judge's opinion of the default's pairs.
    """

    name: str
    tasks: tuple[str, ...]
    loss: LossName = "pearson"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    scored: float = 1.0
    assistants: int = 1
    mining: Mapping[str, Any] = field(default_factory=dict)


_DEFAULT = MiningRecipe()
_FOUR_TIMES = {name: 4 * getattr(_DEFAULT, name) for name in ("student_top", "near_miss", "random")}
_HARD = {"hard_negatives": 4}
CLICKS = Row("clicks", ("clicks",))
FULL = Row("+ assistant, Pearson", _ASSISTANT)
ROWS = (
    CLICKS,
    Row("+ search relevance", _SIGNALS),
    Row("+ judge, directly", (*_SIGNALS, "judgments")),
    FULL,
    Row("+ assistant, MarginMSE", _ASSISTANT, "margin_mse"),
    Row("+ assistant, CoSENT", _ASSISTANT, "cosent"),
    Row("+ assistant, KL", _ASSISTANT, "kl"),
    Row("+ assistant, ListNet", _ASSISTANT, "listnet"),
    Row("+ assistant, margin rank", _ASSISTANT, "margin_rank"),
    Row("+ assistant, KL, temperature 2", _ASSISTANT, "kl", {"temperature": 2.0}),
    Row("+ assistant, hard negatives", _ASSISTANT, recipe=_HARD),
    Row("+ assistant, three seeds", _ASSISTANT, recipe={"seeds": 3}),
    Row("+ assistant, a sixteenth of the scores", _ASSISTANT, scored=1 / 16),
    Row("+ assistant, a quarter of the scores", _ASSISTANT, scored=1 / 4),
    Row("+ assistant, four times the pairs", _ASSISTANT, mining=_FOUR_TIMES),
    Row("+ assistant, hard negatives below a limit", _ASSISTANT, recipe=_HARD, mining={"margin": 0.95}),
    Row("+ two assistants", _ASSISTANT, assistants=2),
)
# What a training does of itself, of two students that the table has anyway.
_SHARE_OF_CLICKS = StudentRecipe().clicks_share
AVERAGED = f"the same, and {_SHARE_OF_CLICKS:.0%} of the weights of clicks"
_RERANKED = 50
# The measure that a smaller dimension is compared by.
_KEPT = "recall@10"
_UNTRAINED, _UPPER = "untrained", "the assistant"


@dataclass(slots=True)
class Found:
    """The evaluations of a student, one per seed, and what its trainings took."""

    evaluations: list[Evaluation] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def note(self, evaluation: Evaluation, seconds: float = 0.0) -> None:
        """Add an evaluation, and what its training took; 0 where nothing was trained."""
        self.evaluations.append(evaluation)
        if seconds:
            self.seconds.append(seconds)


def main() -> None:
    """Train, measure, print."""
    parser = report.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each student, of the seeds from 0 on")
    parser.add_argument("--seed", type=int, action="append", help="train only that seed's; can be repeated")
    parser.add_argument("--items", type=int, default=700, help="of each simulation")
    parser.add_argument("--keyphrases", type=int, default=5_000, help="of each simulation")
    parser.add_argument("--rows", nargs="*", help="only students whose name has one of these words, or: untrained")
    parser.add_argument(
        "--no-reranking", action="store_true", help="without the line of the assistant, which reads 50 pairs per item"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep pairs, scores and students there, and use them again"
    )
    options = parser.parse_args()
    before = report.machine()
    rows = [row for row in ROWS if not options.rows or any(word in row.name for word in options.rows)]
    size = (100, 1_000) if options.quick else (options.items, options.keyphrases)
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="keydistill-") as scratch:
        for seed in options.seed or range(1 if options.quick else options.seeds):
            folder = Path(options.keep or scratch, f"simulation-{seed}")
            task = simulated_task(folder, seed, *size, quick=options.quick)
            if not options.rows or _UNTRAINED in options.rows:
                found.setdefault(_UNTRAINED, Found()).note(_measured(task, Student.load(task.recipe.base)))
                _print(task, found)
            for row in rows:
                student, took = _trained(task, row, folder / "students" / row.name)
                found.setdefault(row.name, Found()).note(_measured(task, student), took)
                if row == FULL and not options.no_reranking:
                    found.setdefault(_UPPER, Found()).note(
                        _measured(task, student, rerank=True), task.assistant_seconds
                    )
                _print(task, found)
            if CLICKS in rows and FULL in rows:
                averaged = folder / "students" / "averaged"
                shutil.rmtree(averaged, ignore_errors=True)
                full, clicks = (folder / "students" / row.name for row in (FULL, CLICKS))
                average_students(full, clicks, _SHARE_OF_CLICKS, averaged)
                found.setdefault(AVERAGED, Found()).note(_measured(task, Student.load(str(averaged))))
                _print(task, found)
    _print_verdicts(task.measures[0], found)
    report.write(
        options.json,
        {
            name: {
                "seconds": each.seconds,
                "mean": {measure: value.as_list() for measure, value in mean_estimates(each.evaluations).items()},
                "seeds": [evaluation.summary() for evaluation in each.evaluations],
            }
            for name, each in found.items()
        },
        before,
    )


def _trained(task: Task, row: Row, out: Path) -> tuple[Student, float]:
    """A row's student and the seconds of its training, 0 where the same training was kept."""
    # What the assistant calls right or wrong decides about negatives: only a student that has the assistant knows.
    if "assistant" in row.tasks:
        data = task.data_of(row.scored, row.assistants, row.mining)
    else:
        data = replace(task.judged, relevant=None)
    recipe = replace(
        task.recipe,
        distillation_loss=row.loss,
        clicks_share=0,
        # A row is what was learned, and is averaged with others as that.
        int8=False,
        **row.recipe,
        weights={name: weight for name, weight in task.recipe.weights.items() if name in row.tasks},
    )
    record, digest = out.with_name(f"{out.name}.digest"), student_training_digest(data, recipe)
    if record.is_file() and record.read_text() == digest:
        return Student.load(str(out)), 0.0
    for stale in (out, members_folder(out)):
        shutil.rmtree(stale, ignore_errors=True)
    began = time.monotonic()
    train_student(data, out, recipe)
    record.write_text(digest)
    return Student.load(str(out)), time.monotonic() - began


def _measured(task: Task, student: Student, *, rerank: bool = False) -> Evaluation:
    return evaluate(
        student,
        task.items,
        task.inventory,
        judge=task.judge,
        labels=task.labels,
        # Of a longer list the assistant would read far more pairs.
        k=task.cutoffs[:1] if rerank else task.cutoffs,
        dimensions=None if rerank else [size for size in (128,) if size < student.dimension],
        reranker=AssistantJudge(task.assistant) if rerank else None,
        rerank_depth=_RERANKED,
    )


def _print(task: Task, found: Mapping[str, Found]) -> None:
    lines: list[list[str]] = []
    for name in sorted(found, key=[_UNTRAINED, *(row.name for row in ROWS), AVERAGED, _UPPER].index):
        figures = mean_estimates(found[name].evaluations)
        seconds = found[name].seconds
        lines.append(
            [
                name,
                *(figure(figures.get(measure, Estimate(None))) for measure in task.measures),
                _kept(found[name].evaluations, _KEPT),
                f"{report.spread(seconds)['median']:.0f}" if seconds else "",
            ]
        )
    print()
    report.table(["student", *task.measures, f"{_KEPT} kept at 128", "seconds"], lines)
    seeds = max(len(each.evaluations) for each in found.values())
    print(f"mean of {seeds} {'seed' if seeds == 1 else 'seeds'} [95% interval over items]", flush=True)


def figure(estimate: Estimate) -> str:
    """An estimate as text, with its interval."""
    if estimate.value is None:
        return "-"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _kept(evaluations: Sequence[Evaluation], measure: str) -> str:
    """What 128 dimensions have of a figure, in percent."""
    if any(128 not in each.dimensions for each in evaluations):
        return ""
    full, cut = (
        sum(cast(float, figures[measure].value) for figures in several)
        for several in (
            [each.estimates for each in evaluations],
            [each.dimensions[128] for each in evaluations],
        )
    )
    return f"{cut / full:.1%}"


def _print_verdicts(measure: str, found: Mapping[str, Found]) -> None:
    """The full recipe against every other student, and against the assistant."""
    if FULL.name not in found:
        return
    full = found[FULL.name].evaluations
    print()
    for name, each in found.items():
        if name not in (FULL.name, _UPPER):
            gap: Difference = compare_means(full, each.evaluations).differences[measure]
            print(f"{name} less {FULL.name}: {measure} {gap.difference:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
    if _UPPER not in found:
        return
    of_full, of_upper = (mean_estimates(runs)[measure].value for runs in (full, found[_UPPER].evaluations))
    if of_full is not None and of_upper:
        print(f"{FULL.name} by {_UPPER}: {measure} {of_full / of_upper:.1%}", flush=True)


if __name__ == "__main__":
    main()
