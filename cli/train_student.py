"""`keydistill train student`: a bi-encoder from clicks, search relevance, judgments and the assistant's scores."""

import math
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import print_json, print_table, progress_bars, warn
from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from keydistill.distillation.registry import ModelVersion
    from keydistill.distillation.student import StudentData, StudentRecipe, TrainedStudent
    from keydistill.settings import Settings

_TASKS = ("clicks", "search_relevance", "judgments", "scores")
_LOSSES = ("pearson", "margin_mse", "cosent", "kl")
_SHAPES = ("six", "three", "static")


@click.command()
@click.option("--items", required=True, type=click.Path(path_type=Path), help="Items: item_id, title, category_path.")
@click.option("--clicks", multiple=True, type=click.Path(path_type=Path), help="Click log; corrected for position.")
@click.option(
    "--search-relevance", multiple=True, type=click.Path(path_type=Path), help="What the search engine says of pairs."
)
@click.option(
    "--judgments", multiple=True, type=click.Path(path_type=Path), help="Judged pairs, to be taught without assistant."
)
@click.option("--scores", multiple=True, type=click.Path(path_type=Path), help="What `keydistill score` wrote.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder; without it, a version in the registry.")
@click.option("--base", help="What it starts from: a folder or a model name.")
@click.option("--shape", type=click.Choice(_SHAPES), help="All layers, three, or static: a table for keyphrases.")
@click.option("--layers", type=click.IntRange(1), help="Layers to keep of the base, evenly spread.")
@click.option("--item-text", help="Template of what it reads of an item: {title}, {leaf}, {path}.")
@click.option("--distillation-loss", type=click.Choice(_LOSSES), help="For the assistant's scores.")
@click.option("--weight", "weights", multiple=True, metavar="TASK=NUMBER", help="What a task counts; 0 leaves it out.")
@click.option(
    "--clicks-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="What the weights have of a second student, of clicks alone; 0 trains none.",
)
@click.option("--int8/--no-int8", default=None, help="Whether weights are rounded for int8 at the end  [default: yes].")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Passes over the pairs at the most.")
@click.option("--batch-size", type=click.IntRange(2), help="Pairs per step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Highest.")
@click.option("--held-out", type=click.FloatRange(0, 0.5), default=0.05, show_default=True, help="Share of items.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is random.")
@click.option("--dry-run", is_flag=True, help="Print how many pairs there are per task; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def student(
    ctx: click.Context,
    /,
    items: Path,
    out: Path | None,
    weights: tuple[str, ...],
    held_out: float,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> str:
    """Train a student on every kind of signal that is given.

    Interrupted, it leaves checkpoints, and the same command goes on from the last one.
    """
    from keydistill.distillation.student import StudentRecipe, student_training_digest, train_student

    settings = settings_of(ctx)
    files = {name: options.pop(name) for name in _TASKS}
    chosen = {name: value for name, value in options.items() if value is not None}
    recipe = StudentRecipe(**chosen, weights=dict(StudentRecipe().weights) | _weights(weights))
    with progress_bars(quiet=as_json) as bars:
        bars.start("read", None, "")
        data = _read(items, files, settings, held_out, recipe.seed)
        if dry_run:
            bars.close()
            counts = {name: len(pairs) for name, pairs in data.tasks().items() if pairs is not None}
            if as_json:
                print_json({"pairs": counts, "recipe": asdict(recipe)})
            else:
                print_table(
                    ("task", "pairs"), [(name, f"{count:,}") for name, count in counts.items()], right=("pairs",)
                )
                click.echo("dry run: nothing was changed")
            return ""
        inputs = {"items": [items], **{role: [*paths] for role, paths in files.items()}}
        folder = out or settings.home / "training" / f"student-{student_training_digest(data, recipe)[:12]}"
        if out is None:
            # Trained, but not published before the process ended.
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
        version = _publish(trained, settings, inputs, recipe) if out is None else None
        bars.close()
    where = version.full_name if version else str(folder)
    place = {"version": version.full_name, "folder": str(version.folder)} if version else {"folder": str(folder)}
    if as_json:
        print_json({**place, **trained.metrics(), "recipe": asdict(recipe), "history": trained.history})
        return where
    for task, count in trained.pairs.items():
        click.echo(f"{task:<17} {count:,} pairs")
    if trained.held_out_ndcg is not None:
        click.echo(f"held-out nDCG@10  {trained.held_out_ndcg:.4f}")
    if trained.clicks_share:
        click.echo(f"clicks alone      {trained.clicks_share:.0%} of the weights")
    if trained.int8:
        click.echo("int8              weights are rounded for it")
    click.echo(f"\n{'Published' if version else 'Wrote'} {where}")
    # For commands that call this one.
    return where


def _read(
    items: Path, files: dict[str, tuple[Path, ...]], settings: "Settings", held_out: float, seed: int
) -> "StudentData":
    from keydistill.distillation.pairs import load_scores
    from keydistill.distillation.signals import (
        correct_clicks,
        load_clicks,
        load_items,
        load_judgments,
        load_search_relevance,
    )
    from keydistill.distillation.student import student_data

    if not any(files.values()):
        raise TrainingError("nothing to learn from; give --clicks, --search-relevance, --judgments or --scores")
    loaders = {
        "clicks": load_clicks,
        "search_relevance": load_search_relevance,
        "judgments": load_judgments,
        "scores": load_scores,
    }
    from keydistill.ingest.snapshot import read_table

    known = read_table("items", [items], settings, load_items, warn)
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
    return student_data(known, **tables, held_out=held_out, seed=seed)


def _weights(given: tuple[str, ...]) -> dict[Any, float]:
    from keydistill.distillation.student import StudentRecipe

    found: dict[Any, float] = {}
    for text in given:
        task, _, number = text.partition("=")
        task = "assistant" if task == "scores" else task
        try:
            found[task] = float(number)
        except ValueError:
            raise click.BadParameter(f"{text!r}; expected TASK=NUMBER, such as clicks=0.5") from None
        if task not in StudentRecipe().weights or not 0 <= found[task] < math.inf:
            raise click.BadParameter(
                f"{text!r}; tasks are {', '.join(StudentRecipe().weights)}, and numbers are not negative"
            )
    return found


def _publish(
    trained: "TrainedStudent", settings: "Settings", inputs: dict[str, list[Path]], recipe: "StudentRecipe"
) -> "ModelVersion":
    from keydistill.distillation.registry import Lineage, Registry

    version = Registry.of(settings).publish(
        "student",
        trained.folder,
        lineage=Lineage.collect(inputs, asdict(recipe), seed=recipe.seed),
        metrics=trained.metrics(),
    )
    shutil.rmtree(trained.folder)
    return version
