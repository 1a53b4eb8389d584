"""`keydistill train assistant`: a cross-encoder from judgments."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import check_output, duration_text, print_json, print_table, progress_bars, warn
from keydistill.cli.table_options import reading_options
from keydistill.cli.training_options import FOLDS_HELP, SIZES_HELP
from keydistill.errors import StudentError, TooManyRejectsError

if TYPE_CHECKING:
    from keydistill.distillation.assistant import (
        AssistantMetrics,
        AssistantRecipe,
        AssistantTrainingPlan,
        LabelledPairs,
        TrainedAssistant,
    )
    from keydistill.distillation.registry import ModelVersion
    from keydistill.encoders import Student
    from keydistill.settings import Settings


@dataclass(frozen=True)
class _Inputs:
    judgments: tuple[Path, ...]
    items: Path
    warm_up: tuple[Path, ...]
    relevant_grade: int

    def files(self) -> dict[str, list[Path]]:
        """Files by their roles, as the lineage names them."""
        return {"judgments": [*self.judgments], "items": [self.items], "warm_up": [*self.warm_up]}


@click.command()
@click.argument("judgments", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--items", required=True, type=click.Path(path_type=Path), help="File of items: item_id, title, category_path."
)
@click.option(
    "--warm-up",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of judgments that are trusted less, to begin with.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="New folder to write to; without it, a version in the registry."
)
@click.option("--size", help=SIZES_HELP)
@click.option("--layers", type=click.IntRange(1), help="Number of layers, instead of the size's.")
@click.option("--base", help="Folder or name of the model that training starts from.")
@click.option("--item-text", help="Template of the text that stands for an item: {title}, {leaf}, {path}.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Most passes over the pairs.")
@click.option("--batch-size", type=click.IntRange(1), help="Pairs per step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Peak learning rate after warm-up; without it, the size's.",
)
@click.option("--label-smoothing", type=click.FloatRange(0, 1), help="Share by which targets are drawn towards 0.5.")
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of pairs to hold out and measure on.",
)
@click.option("--folds", type=click.IntRange(0), help=FOLDS_HELP)
@click.option(
    "--split-by",
    type=click.Choice(["keyphrase", "item"]),
    help="Whether whole keyphrases or whole items are held out.",
)
@click.option(
    "--relevant-grade", type=click.IntRange(0, 3), default=3, show_default=True, help="Least grade that means yes."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--dry-run", is_flag=True, help="Print counts, sizes and an estimate of the time; change nothing.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def assistant(
    ctx: click.Context,
    /,
    judgments: tuple[Path, ...],
    items: Path,
    warm_up: tuple[Path, ...],
    relevant_grade: int,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Train a cross-encoder on JUDGMENTS (CSV, JSONL, Parquet: item_id, keyphrase, and probability, label or grade).

    Interrupted, it leaves checkpoints, and the same command goes on from the last one.
    """
    from keydistill.distillation.assistant import AssistantRecipe

    check_output(ctx, "out")
    settings = settings_of(ctx)
    recipe = AssistantRecipe(**{name: value for name, value in choices.items() if value is not None})
    inputs = _Inputs(judgments, items, warm_up, relevant_grade)
    with progress_bars(quiet=as_json) as bars:
        bars.start("read", None, "")
        pairs, warm_up_pairs = _read(inputs, settings)
        if dry_run:
            from keydistill.distillation.assistant import plan_assistant_training

            bars.start("time some steps", None, "")
            planned = plan_assistant_training(pairs, recipe, warm_up=warm_up_pairs)
            bars.close()
            print_json({**asdict(planned), "recipe": asdict(recipe)}) if as_json else _print_plan(planned, recipe)
            return
        from keydistill.distillation.assistant import (
            assistant_training_digest,
            chance_level,
            nothing_to_teach,
            train_assistant,
        )

        compared = _untrained(settings.threads) if _are_lists(pairs) else None
        digest = assistant_training_digest(pairs, recipe, warm_up_pairs)[:12]
        folder = out or settings.home / "training" / f"assistant-{digest}"
        if out is None:
            # The folder holds an assistant that was trained, but not published before its process ended.
            shutil.rmtree(folder, ignore_errors=True)
        try:
            trained = train_assistant(
                pairs,
                folder,
                recipe,
                warm_up=warm_up_pairs,
                student=compared,
                threads=settings.threads,
                progress=bars,
            )
        except KeyboardInterrupt:
            bars.close()
            click.echo("interrupted; the same command goes on from the last checkpoint, if there is one", err=True)
            ctx.exit(130)
        version = _publish(trained, settings, inputs, recipe) if out is None else None
        bars.close()
    place = {"version": version.full_name, "folder": str(version.folder)} if version else {"folder": str(folder)}
    if (chance := chance_level(trained.metrics.as_dict())) is not None:
        warn(f"the assistant is no better than chance: {chance}; no student learns from its scores without a reason")
    elif compared is not None and (problem := nothing_to_teach(trained.metrics.as_dict())) is not None:
        warn(
            f"the assistant has nothing to teach of the order of a keyphrase's items: {problem}; without clicks "
            "no student learns lists of items from its scores, unless somebody says why"
        )
    if as_json:
        print_json({**place, **trained.as_dict(), "recipe": asdict(recipe)})
        return
    _print_metrics(trained, recipe.split_by)
    click.echo(f"\nPublished {version.full_name}" if version else f"\nWrote {folder}")


def _are_lists(pairs: "LabelledPairs") -> bool:
    """Whether items of a keyphrase were judged, whose order a student may learn."""
    import pyarrow as pa

    from keydistill.distillation.evaluation import labels_are_lists

    return labels_are_lists(pa.array(pairs.keyphrases), pa.array(pairs.item_ids))


def _untrained(threads: int | None) -> "Student | None":
    """The student before its training, to compare the order of items with; None where it is not to be had."""
    from keydistill.distillation.student import StudentRecipe, untrained_student

    try:
        return untrained_student(StudentRecipe(), threads)
    except StudentError:
        return None


def _read(inputs: _Inputs, settings: "Settings") -> tuple["LabelledPairs", "LabelledPairs | None"]:
    """Judged pairs and warm-up pairs.

    Raises:
        TooManyRejectsError: More rows cannot be used than the settings allow.
    """
    from keydistill.distillation.assistant import judged_pairs
    from keydistill.distillation.signals import load_items, load_judgments
    from keydistill.tables import Conventions, RejectLog

    read = []
    with RejectLog() as rejects:
        conventions = Conventions.of(settings)
        items = load_items([inputs.items], rejects, conventions=conventions)
        for files in (inputs.judgments, inputs.warm_up):
            judgments = load_judgments(
                files,
                rejects,
                relevant_grade=inputs.relevant_grade,
                max_keyphrase_chars=settings.max_keyphrase_chars,
                conventions=conventions,
            )
            read.append((*judged_pairs(judgments, items), len(judgments)))
    unknown = sum(missing for _, missing, _ in read)
    rows = sum(total for _, _, total in read) + rejects.count
    bad = unknown + rejects.count
    if bad:
        reasons = ", ".join(f"{name} {count:,}" for name, count in [*rejects.by_reason.items()][:3])
        problem = (
            f"{bad:,} of {rows:,} rows cannot be used: {unknown:,} judge an item that {inputs.items} does not have, "
            f"{rejects.count:,} are malformed{f' ({reasons})' if reasons else ''}; `keydistill signals check` shows "
            "which"
        )
        if bad > settings.max_reject_share * rows:
            raise TooManyRejectsError(
                f"{problem}; that is more than max_reject_share allows ({settings.max_reject_share:.2%}); correct the "
                "rows, or raise KEYDISTILL_MAX_REJECT_SHARE if they are meant to go"
            )
        click.echo(problem, err=True)
    return read[0][0], read[1][0] if inputs.warm_up else None


def _publish(
    trained: "TrainedAssistant", settings: "Settings", inputs: _Inputs, recipe: "AssistantRecipe"
) -> "ModelVersion":
    from keydistill.distillation.registry import Lineage, Registry

    chosen = {**asdict(recipe), "relevant_grade": inputs.relevant_grade, "threads": settings.threads}
    version = Registry.of(settings).publish(
        "assistant",
        trained.folder,
        lineage=Lineage.collect(inputs.files(), chosen, seed=recipe.seed),
        metrics=trained.as_dict(),
    )
    shutil.rmtree(trained.folder)
    return version


def _print_plan(plan: "AssistantTrainingPlan", recipe: "AssistantRecipe") -> None:
    click.echo(f"training       {plan.training:,} pairs, {plan.positive_share:.0%} of them positive")
    click.echo(f"held out       {plan.held_out:,} pairs; none shares its {recipe.split_by} with the others")
    if plan.folds > 1:
        click.echo(
            f"folds          {plan.folds} models like that, so that each pair is held out once; then one on all pairs"
        )
    if plan.warm_up:
        click.echo(f"warm-up        {plan.warm_up:,} pairs before")
    click.echo(f"size           {recipe.size}, {plan.parameters / 1e6:.1f} million parameters")
    click.echo(
        f"time           about {duration_text(plan.seconds)} for {recipe.epochs:g} epochs, measured on some steps "
        "just now"
    )
    click.echo("dry run: nothing was changed")


def _beside_student(metrics: "AssistantMetrics") -> tuple[str, str, str]:
    gain, low, high = metrics.auc_within_gain, metrics.auc_within_gain_low, metrics.auc_within_gain_high
    return (
        "less untrained",
        f"{gain:+.3f}",
        f"{low:+.3f} to {high:+.3f}; a student has {metrics.auc_within_student:.3f}",
    )


def _print_metrics(trained: "TrainedAssistant", split_by: str) -> None:
    metrics = trained.metrics
    learned = f"each by one of {metrics.folds} models" if metrics.folds > 1 else f"{trained.pairs:,} were learned"
    within = f"of {metrics.held_out_lists:,} keyphrases with pairs of both kinds"
    rows = [
        ("pairs", f"{metrics.held_out_pairs:,}", f"of {metrics.held_out_groups:,} {split_by}s held out; {learned}"),
        ("positive", f"{metrics.positive_share:.3f}", "share of the held-out pairs"),
        ("AUC", f"{metrics.auc:.3f}", f"{metrics.auc_low:.3f} to {metrics.auc_high:.3f}"),
        (
            "AUC per keyphrase",
            "-" if metrics.auc_within is None else f"{metrics.auc_within:.3f}",
            within
            if metrics.auc_within is None
            else f"{metrics.auc_within_low:.3f} to {metrics.auc_within_high:.3f}, {within}",
        ),
        *([] if metrics.auc_within_gain is None else [_beside_student(metrics)]),
        (
            "approvals right",
            f"{metrics.approved_right:.3f}",
            f"{metrics.approved_right_low:.3f} to {metrics.approved_right_high:.3f}",
        ),
        (
            "rejections right",
            f"{metrics.rejected_right:.3f}",
            f"{metrics.rejected_right_low:.3f} to {metrics.rejected_right_high:.3f}",
        ),
        ("average precision", f"{metrics.average_precision:.3f}", ""),
        (
            "F1",
            f"{metrics.f1:.3f}",
            f"at {metrics.threshold:.2f}; precision {metrics.precision:.3f}, recall {metrics.recall:.3f}",
        ),
        ("Brier score", f"{metrics.brier_calibrated:.3f}", f"{metrics.brier:.3f} before calibration"),
        ("calibration error", f"{metrics.ece_calibrated:.3f}", f"{metrics.ece:.3f} before calibration"),
    ]
    print_table(("held-out metric", "value", " "), rows, right=("value",))
