"""`keydistill train student`: a bi-encoder from clicks, search relevance, judgments and the assistant's scores."""

import math
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import check_output, print_json, print_table, progress_bars, warn
from keydistill.cli.table_options import reading_options
from keydistill.cli.training_options import (
    ITEM_TEXT_HELP,
    hard_negatives_option,
    judgments_loss_option,
    loss_option,
    seeds_option,
    shape_option,
    trust_option,
)
from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from keydistill.distillation.registry import ModelVersion
    from keydistill.distillation.student import StudentData, StudentRecipe, TrainedStudent
    from keydistill.settings import Settings

# Options that name files of signals. The files of scores are what the task `assistant` learns from.
_SIGNALS = ("clicks", "search_relevance", "judgments", "scores")


@click.command()
@click.option(
    "--items", required=True, type=click.Path(path_type=Path), help="File of items: item_id, title, category_path."
)
@click.option(
    "--clicks", multiple=True, type=click.Path(path_type=Path), help="Click log; it is corrected for position."
)
@click.option(
    "--search-relevance",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of what the search engine says of pairs.",
)
@click.option(
    "--judgments",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of judged pairs, to be learned directly: the order of their grades, and those judged yes as positives.",
)
@click.option(
    "--scores", multiple=True, type=click.Path(path_type=Path), help="File of scores that `keydistill score` wrote."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="New folder to write to; without it, a version in the registry."
)
@click.option("--base", help="Folder or name of the model that training starts from.")
@shape_option
@click.option("--layers", type=click.IntRange(1), help="Number of the base's layers to keep, evenly spread.")
@click.option("--item-text", help=ITEM_TEXT_HELP)
@loss_option
@judgments_loss_option
@hard_negatives_option
@click.option(
    "--temperature",
    type=click.FloatRange(0, min_open=True),
    help="Divisor of the logits of both sides in the losses kl and listnet.  [default: 1]",
)
@click.option(
    "--weight", "weights", multiple=True, metavar="TASK=NUMBER", help="Weight of a task's loss; 0 leaves the task out."
)
@click.option(
    "--clicks-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share in the weights of a second student, which learns from clicks alone (without any, from what was judged "
    "relevant); 0 trains none.",
)
@click.option("--int8/--no-int8", default=None, help="Whether weights are rounded for int8 at the end.  [default: yes]")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Most passes over the pairs.")
@click.option("--batch-size", type=click.IntRange(2), help="Pairs per step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Peak learning rate after warm-up.")
@click.option(
    "--held-out", type=click.FloatRange(0, 0.5), default=0.05, show_default=True, help="Share of items to hold out."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@seeds_option
@trust_option
@click.option("--dry-run", is_flag=True, help="Print how many pairs there are per task; train nothing.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def student(
    ctx: click.Context,
    /,
    items: Path,
    out: Path | None,
    weights: tuple[str, ...],
    held_out: float,
    trust_assistant: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> str:
    """Train a student on all signals that the options name.

    Interrupted, it leaves checkpoints, and the same command goes on from the last one.
    """
    from keydistill.distillation.student import (
        StudentRecipe,
        default_weights,
        plan_student_training,
        student_training_digest,
        train_student,
    )

    check_output(ctx, "out")
    settings = settings_of(ctx)
    files = {name: options.pop(name) for name in _SIGNALS}
    chosen = {name: value for name, value in options.items() if value is not None}
    recipe = StudentRecipe(**chosen, weights=default_weights(graded="judgments_loss" in chosen) | _weights(weights))
    with progress_bars(quiet=as_json) as bars:
        bars.start("read", None, "")
        data = _read(items, files, settings, held_out, recipe, trust_assistant)
        if dry_run:
            bars.close()
            plan = plan_student_training(data)
            if as_json:
                print_json({**asdict(plan), "recipe": asdict(recipe)})
            else:
                counts = [(task, f"{count:,}") for task, count in plan.pairs.items()]
                print_table(("task", "pairs"), counts, right=("pairs",))
                click.echo("dry run: nothing was changed")
            return ""
        inputs = {"items": [items], **{role: [*paths] for role, paths in files.items()}}
        folder = out or settings.home / "training" / f"student-{student_training_digest(data, recipe)[:12]}"
        if out is None:
            # The folder holds a student that was trained, but not published before its process ended.
            shutil.rmtree(folder, ignore_errors=True)
        try:
            trained = train_student(
                data,
                folder,
                recipe,
                threads=settings.threads,
                progress=bars,
            )
        except KeyboardInterrupt:
            bars.close()
            click.echo("interrupted; the same command goes on from the last checkpoint, if there is one", err=True)
            ctx.exit(130)
        version = _publish(trained, settings, inputs, recipe, trust_assistant) if out is None else None
        bars.close()
    where = version.full_name if version else str(folder)
    place = {"version": version.full_name, "folder": str(version.folder)} if version else {"folder": str(folder)}
    if as_json:
        print_json({**place, **trained.as_dict(), "recipe": asdict(recipe), "history": trained.history})
        return where
    for task, count in trained.pairs.items():
        click.echo(f"{task:<17} {count:,} pairs")
    if trained.held_out_ndcg is not None:
        click.echo(f"held-out nDCG@10  {trained.held_out_ndcg:.4f}")
    if trained.clicks_share:
        alone = "clicks alone" if "clicks" in trained.pairs else "judged alone"
        click.echo(f"{alone:<17} {trained.clicks_share:.0%} of the weights")
    if trained.members:
        click.echo(f"seeds             the mean of {len(trained.members)}, each of which is kept")
    if trained.int8:
        click.echo("int8              weights are rounded for it")
    click.echo(f"\n{'Published' if version else 'Wrote'} {where}")
    # For commands that call this one.
    return where


def _read(
    items: Path,
    files: dict[str, tuple[Path, ...]],
    settings: "Settings",
    held_out: float,
    recipe: "StudentRecipe",
    trust_assistant: str | None,
) -> "StudentData":
    from keydistill.distillation.assistant import Verdicts, check_better_than_chance, check_order
    from keydistill.distillation.pairs import load_scores, trust_of
    from keydistill.distillation.signals import (
        correct_clicks,
        load_clicks,
        load_items,
        load_judgments,
        load_search_relevance,
    )
    from keydistill.distillation.student import student_data
    from keydistill.encoders import ItemText

    if not any(files.values()):
        raise TrainingError("nothing to learn from; give --clicks, --search-relevance, --judgments or --scores")
    loaders = {
        "clicks": load_clicks,
        "search_relevance": load_search_relevance,
        "judgments": load_judgments,
        "scores": load_scores,
    }
    from keydistill.ingest.snapshot import read_table

    load = partial(load_items, fields=ItemText(recipe.item_text).free_fields)
    known_items = read_table("items", [items], settings, load, warn)
    tables = {
        name: read_table(
            name.replace("_", " "),
            paths,
            settings,
            partial(loaders[name], max_keyphrase_chars=settings.max_keyphrase_chars),
            warn,
        )
        for name, paths in files.items()
        if paths
    }
    if "clicks" in tables:
        tables["clicks"] = correct_clicks(tables["clicks"]).pairs
    scores = tables.pop("scores", None)
    trust = {} if scores is None else trust_of(scores)
    check_better_than_chance(trust, trust_assistant)
    data = student_data(
        known_items, **tables, assistant=scores, verdicts=Verdicts.of(trust), held_out=held_out, seed=recipe.seed
    )
    # As in a retrain. Older scores say nothing of it.
    if "held_out_lists" in trust and data.compares_items(data.assistant):
        check_order(trust, trust_assistant)
    return data


def _weights(options: tuple[str, ...]) -> dict[Any, float]:
    from keydistill.distillation.student import StudentRecipe

    weights: dict[Any, float] = {}
    for text in options:
        task, _, number = text.partition("=")
        # The task can also be named by the option whose files it learns from.
        task = "assistant" if task == "scores" else task
        try:
            weights[task] = float(number)
        except ValueError:
            raise click.BadParameter(f"{text!r}; expected TASK=NUMBER, such as clicks=0.5") from None
        if task not in StudentRecipe().weights or not 0 <= weights[task] < math.inf:
            raise click.BadParameter(
                f"{text!r}; tasks are {', '.join(StudentRecipe().weights)}, and numbers are not negative"
            )
    return weights


def _publish(
    trained: "TrainedStudent",
    settings: "Settings",
    inputs: dict[str, list[Path]],
    recipe: "StudentRecipe",
    trust_assistant: str | None,
) -> "ModelVersion":
    from keydistill.distillation.registry import Lineage, Registry

    reason = {"trust_assistant": trust_assistant} if trust_assistant else {}
    registry, lineage = Registry.of(settings), Lineage.collect(inputs, asdict(recipe) | reason, seed=recipe.seed)
    members = {}
    for seed, member in enumerate(trained.members, start=recipe.seed):
        own = Lineage.collect(inputs, asdict(replace(recipe, seed=seed, seeds=1)) | reason, seed=seed)
        members[str(seed)] = registry.publish("student", member, lineage=own, metrics={"seed": seed}).full_name
    version = registry.publish(
        "student",
        trained.folder,
        lineage=lineage,
        metrics={**trained.as_dict(), **({"seeds": members} if members else {})},
    )
    shutil.rmtree(trained.folder)
    for folder in {member.parent for member in trained.members}:
        shutil.rmtree(folder)
    return version
