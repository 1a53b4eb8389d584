"""`keydistill retrain`: from signals to a new student, in one go."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import settings_of
from cli.input_tables import read_inventory, read_table
from cli.judge_choice import judge_of, judge_options
from cli.output import duration_text, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from distillation import Retrain, RetrainInputs, RetrainRecipe, RetrainResult
    from settings import Settings


@click.command()
@click.argument("signals", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--inventory",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Keyphrases.  [default: inventory.parquet in SIGNALS]",
)
@judge_options
@click.option("--judged-pairs", type=click.IntRange(1), help="Most pairs to put to the judge.")
@click.option("--budget-tokens", type=click.IntRange(0), help="Most tokens for the judge.")
@click.option("--mined-items", type=click.IntRange(1), help="Items to mine pairs of.  [default: all]")
@click.option("--assistant-size", help="minilm-6, minilm-3 or bert-mini.")
@click.option("--assistant-epochs", type=click.FloatRange(0, min_open=True), help="Passes over the judged pairs.")
@click.option("--layers", type=click.IntRange(1), help="Layers of the student.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Passes of the student over its pairs.")
@click.option(
    "--distillation-loss", type=click.Choice(("pearson", "margin_mse", "cosent", "kl")), help="For the student."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is random.")
@click.option("--run", "run_id", help="Run to go on with; without it, a new one.")
@click.option("--promote", is_flag=True, help="Make the new student and assistant the ones that are used from now on.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def retrain(
    ctx: click.Context,
    /,
    signals: Path,
    inventory: tuple[Path, ...],
    run_id: str | None,
    promote: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train an assistant and a student on the folder SIGNALS and put them into the registry.

    SIGNALS holds items.parquet and clicks, search_relevance or judgments.parquet, as `keydistill signals import` and
    `keydistill simulate` write them. Stages: mine pairs, judge them, train the assistant, score, train the student,
    evaluate it against the present one. What is done is kept: with --run, a retrain goes on where it stopped.
    """
    settings = settings_of(ctx)
    recipe = _recipe(options)
    with progress_bars(quiet=as_json) as bars:
        bars.start("read", None, "")
        inputs = _inputs(signals, inventory, settings)
        run_id = run_id or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        work = _retrain(settings, run_id, inputs, recipe, options)
        if dry_run:
            bars.close()
            _print_plan(run_id, work, inputs, recipe, as_json=as_json)
            return
        click.echo(f"retrain {run_id}", err=True)
        try:
            result = work.run(bars)
        except KeyboardInterrupt:
            bars.close()
            click.echo(f"interrupted; go on with --run {run_id} and the same options", err=True)
            ctx.exit(130)
        if promote:
            _promote(settings, result, run_id)
        bars.close()
    _print_result(run_id, result, promoted=promote, as_json=as_json)


def _recipe(options: dict[str, Any]) -> "RetrainRecipe":
    from distillation import RetrainRecipe

    base = RetrainRecipe(seed=options["seed"])
    given = {name: value for name, value in options.items() if value is not None}

    def chosen(**names: str) -> dict[str, Any]:
        return {field: given[option] for field, option in names.items() if option in given}

    return replace(
        base,
        mining=replace(base.mining, **chosen(items="mined_items", seed="seed")),
        assistant=replace(base.assistant, **chosen(size="assistant_size", epochs="assistant_epochs", seed="seed")),
        student=replace(
            base.student, **chosen(layers="layers", epochs="epochs", distillation_loss="distillation_loss", seed="seed")
        ),
        **chosen(judged_pairs="judged_pairs", budget_tokens="budget_tokens"),
    )


def _inputs(signals: Path, inventory: tuple[Path, ...], settings: "Settings") -> "RetrainInputs":
    from distillation import RetrainInputs
    from distillation.signals import (
        SignalFiles,
        load_clicks,
        load_items,
        load_judgments,
        load_search_relevance,
    )
    from errors import InputError

    found = SignalFiles.of_folder(signals)
    if not found.items:
        raise InputError(f"{signals} has no items.parquet; a student reads titles: add the items")
    keyphrases = [*inventory] or [signals / "inventory.parquet"]
    loaders = {"clicks": load_clicks, "search_relevance": load_search_relevance, "judgments": load_judgments}
    files = {name: [*getattr(found, name)] for name in loaders}
    return RetrainInputs(
        items=read_table("items", found.items, settings, load_items),
        inventory=read_inventory(keyphrases, settings),
        **{
            name: read_table(
                name.replace("_", " "),
                paths,
                settings,
                partial(loaders[name], max_keyphrase_chars=settings.max_keyphrase_chars),
            )
            for name, paths in files.items()
            if paths
        },
        files={"items": [*found.items], "inventory": keyphrases, **files},
    )


def _retrain(
    settings: "Settings", run_id: str, inputs: "RetrainInputs", recipe: "RetrainRecipe", options: dict[str, Any]
) -> "Retrain":
    from distillation import Registry, Retrain, resolve_assistant, resolve_student

    return Retrain(
        settings.home / "retrains" / run_id,
        inputs,
        judge_of(settings, options),
        Registry.of(settings),
        student=resolve_student(settings),
        assistant=resolve_assistant(settings),
        recipe=recipe,
        cache=settings.home / "judgments.sqlite",
        threads=settings.threads,
    )


def _promote(settings: "Settings", result: "RetrainResult", run_id: str) -> None:
    from distillation import Registry

    for version in (result.assistant, result.student):
        Registry.of(settings).promote(version, reason=f"retrain {run_id}")


def _print_plan(
    run_id: str, work: "Retrain", inputs: "RetrainInputs", recipe: "RetrainRecipe", *, as_json: bool
) -> None:
    plan = work.plan()
    if as_json:
        print_json({"run": run_id, "done": plan, "items": len(inputs.items), "keyphrases": len(inputs.inventory)})
        return
    mining = recipe.mining
    items = min(mining.items or len(inputs.items), len(inputs.items))
    about = {
        "mine": f"up to {items * (mining.student_top + mining.near_miss + mining.random):,} pairs of {items:,} items",
        "judge": f"up to {recipe.judged_pairs:,} of them",
        "assistant": f"{recipe.assistant.size}, {recipe.assistant.epochs:g} epochs",
        "score": "all mined pairs",
        "student": f"{recipe.student.epochs:g} epochs, {recipe.student.distillation_loss} loss",
        "evaluate": f"on {min(recipe.evaluated_items, len(inputs.items)):,} items, against the present student",
    }
    print_table(("stage", "state", "what"), [(name, "done" if plan[name] else "to do", about[name]) for name in plan])
    click.echo("dry run: nothing was changed")


def _print_result(run_id: str, result: "RetrainResult", *, promoted: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "run": run_id,
                "student": result.student.full_name,
                "assistant": result.assistant.full_name,
                "report": str(result.report),
                "promoted": promoted,
                "stages": {
                    stage.name: {"seconds": stage.seconds, "skipped": stage.skipped, **stage.result}
                    for stage in result.stages
                },
            }
        )
        return
    print_table(
        ("stage", "time", "result"),
        [
            (stage.name, "there" if stage.skipped else duration_text(stage.seconds), _about(stage.name, stage.result))
            for stage in result.stages
        ],
        right=("time",),
    )
    click.echo(f"\nassistant  {result.assistant.full_name}\nstudent    {result.student.full_name}")
    click.echo(f"report     {result.report / 'index.html'}")
    if promoted:
        click.echo("Promoted both; `keydistill reindex INVENTORY --student promoted` builds with this student")
    sys.stdout.flush()


def _about(stage: str, result: dict[str, Any]) -> str:
    match stage:
        case "mine":
            strata = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in result["strata"].items())
            return f"{result['pairs']:,} pairs: {strata}"
        case "judge":
            return f"{result['labelled']:,} labelled, {result['yes']:,} yes"
        case "assistant":
            return f"held-out AUC {result['auc']:.3f}, F1 {result['f1']:.3f}"
        case "score":
            return f"{result['pairs']:,} pairs, mean {result['mean_score']:.3f}"
        case "student":
            return f"held-out nDCG@10 {result['held_out_ndcg@10']:.3f} after {result['steps']:,} steps"
        case _:
            new, present = (result[which]["estimates"]["relevant@10"][0] for which in ("new", "present"))
            return f"relevant@10 by the assistant {new:.3f}, before {present:.3f}"
