"""`keydistill retrain`: from signals to a new student, in one go."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from keydistill.cli.completed_values import run_ids
from keydistill.cli.context import settings_of
from keydistill.cli.follow import executor_options, follow_order
from keydistill.cli.judge_choice import judge_options
from keydistill.cli.output import duration_text, print_json, print_table, progress_bars, warn
from keydistill.cli.training_options import (
    FOLDS_HELP,
    ITEM_TEXT_HELP,
    SIZES_HELP,
    hard_negatives_option,
    judgments_loss_option,
    loss_option,
    seeds_option,
    shape_option,
    trust_option,
)
from keydistill.errors import SettingsError

if TYPE_CHECKING:
    from keydistill.execution import RetrainOrder
    from keydistill.runs import RetrainRun


@click.command()
@click.argument("signals", required=False, type=click.Path(path_type=Path))
@click.option(
    "--inventory",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of keyphrases.  [default: inventory.parquet in SIGNALS]",
)
@click.option(
    "--judgments",
    type=click.Path(path_type=Path),
    help="Folder of judgments and their items, as the page of `keydistill serve` keeps them.",
)
@judge_options
@click.option("--judged-pairs", type=click.IntRange(1), help="Most mined pairs to put to the judge.")
@click.option("--budget-tokens", type=click.IntRange(0), help="Most tokens for the judge.")
@click.option("--mined-items", type=click.IntRange(1), help="Number of items to mine pairs of.  [default: all]")
@click.option("--assistant-size", help=SIZES_HELP)
@click.option(
    "--assistant-epochs",
    type=click.FloatRange(0, min_open=True),
    help="Most passes of the assistant over the judged pairs.",
)
@click.option("--assistant-folds", type=click.IntRange(0), help=FOLDS_HELP)
@click.option(
    "--negative-margin",
    type=click.FloatRange(0, min_open=True),
    metavar="SHARE",
    help="Largest share of the present student's score of an item's known positives that a near miss of it may have; "
    "nearer ones are likely right.  [default: no limit]",
)
@shape_option
@click.option("--layers", type=click.IntRange(1), help="Number of the base's layers that the student keeps.")
@click.option("--item-text", help=ITEM_TEXT_HELP)
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Most passes of the student over its pairs.")
@loss_option
@judgments_loss_option
@hard_negatives_option
@click.option(
    "--clicks-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share in the weights of a second student, which learns from clicks alone (without any, from what was judged "
    "relevant); 0 trains none.",
)
@click.option(
    "--int8/--no-int8",
    default=None,
    help="Whether the student's weights are rounded for int8 at the end.  [default: yes]",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 0.5),
    help="Share of items and of keyphrases that nothing is learned from: the students are compared on these items.",
)
@trust_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@seeds_option
@click.option("--promote", is_flag=True, help="Make the new student and assistant the ones that are used from now on.")
@click.option(
    "--promote-worse",
    metavar="REASON",
    help="Why the new student is to be promoted even if it is clearly worse than the present one.",
)
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=run_ids,
    help="Take up an interrupted or failed retrain instead of starting one.",
)
@executor_options
@click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def retrain(
    ctx: click.Context,
    /,
    resume: str | None,
    executor: str | None,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train an assistant and a student on the folder SIGNALS and put them into the registry.

    SIGNALS holds items.parquet and clicks, search_relevance or judgments.parquet, as `keydistill signals import` and
    `keydistill simulate` write them. Where no judge is named, these judgments are the judge. Stages: mine
    pairs, judge them, train the assistant, score, train the student, evaluate it against the present one. Finished work
    is kept: with --resume, a retrain goes on where it stopped, with the options that it was started with.
    """
    from keydistill.execution import OWN_JUDGMENTS, Retrainer, RetrainOrder
    from keydistill.runs import retrain_of

    settings = settings_of(ctx, executor=executor)
    by_default = {name for name in options if ctx.get_parameter_source(name) == ParameterSource.DEFAULT}
    explicit = {name: value for name, value in options.items() if name not in by_default}
    if bool(explicit) == bool(resume) or (explicit and "signals" not in explicit):
        raise SettingsError("give SIGNALS to start a retrain, or --resume RUN alone to take one up as it was ordered")
    order = None if resume else RetrainOrder.of(explicit)
    if settings.executor == "celery" and not dry_run:
        from keydistill.execution import order_retrain, resume_by_workers
        from keydistill.workers import sender

        send = sender(settings)
        ordered = (
            resume_by_workers(settings, resume or "", send) if order is None else order_retrain(settings, order, send)
        )
        if retrain_of(ordered).order.get("own_judgments"):
            warn(OWN_JUDGMENTS)
        ended = retrain_of(follow_order(ctx, settings, ordered, wait=wait, as_json=as_json))
        print_json(ended.as_dict()) if as_json else _print_run(ended)
        ctx.exit(0 if ended.state == "done" and not ended.error else 1)
    from keydistill.runs import open_store

    store = open_store(settings)
    with progress_bars(quiet=as_json) as bars:
        work = Retrainer(settings, store, bars, warn)
        if dry_run:
            present = None if order is not None else retrain_of(store.load(resume or ""))
            order = order or RetrainOrder.of(present.order if present else {})
            plan = work.plan(order, present)
            bars.close()
            _print_plan(plan, order, as_json=as_json)
            return
        try:
            run = work.start(order) if order is not None else work.resume(resume or "")
        except KeyboardInterrupt:
            bars.close()
            if work.run is not None:
                click.echo(f"interrupted; go on with: keydistill retrain --resume {work.run.id}", err=True)
                ctx.exit(130)
            raise
        bars.close()
    print_json(run.as_dict()) if as_json else _print_run(run)
    if run.error:
        ctx.exit(1)


def _print_plan(plan: dict[str, bool], order: "RetrainOrder", *, as_json: bool) -> None:
    if as_json:
        print_json({"done": plan, "order": order.model_dump(mode="json")})
        return
    recipe = order.recipe()
    mining, student = recipe.mining, recipe.student
    averaged = student.clicks_share and order.files().clicks
    per_item = mining.student_top + mining.near_miss + mining.random
    about = {
        "mine": f"about {per_item} pairs of each of {mining.items or 'all'} items",
        "judge": f"up to {recipe.judged_pairs:,} of them",
        "assistant": f"{recipe.assistant.size}, {recipe.assistant.epochs:g} epochs",
        "score": "all mined pairs",
        "student": f"{student.shape}, {student.total_epochs:g} epochs, {student.distillation_loss} loss"
        + (f", {student.clicks_share:.0%} of its weights from clicks alone" if averaged else ""),
        "judge_lists": "what both students recommend for some held-out items",
        "evaluate": f"on up to {recipe.evaluated_items:,} held-out items, against the present student",
    }
    print_table(("stage", "state", "what"), [(name, "done" if plan[name] else "to do", about[name]) for name in plan])
    click.echo("dry run: nothing was changed")


def _print_run(run: "RetrainRun") -> None:
    if run.results:
        print_table(
            ("stage", "time", "result"),
            [(name, duration_text(run.timings[name]), _about(name, result)) for name, result in run.results.items()],
            right=("time",),
        )
        click.echo("")
    click.echo(f"run        {run.id}: {run.state}")
    if run.error:
        click.echo(f"error      {run.error}")
    if run.state == "failed":
        click.echo(f"mend it, then keydistill retrain --resume {run.id}")
    if run.state == "done":
        click.echo(f"assistant  {run.assistant}\nstudent    {run.student}")
        click.echo(f"report     {run.report}/index.html")
    if run.state == "done" and run.order.get("promote") and not run.error:
        click.echo("Promoted both; `keydistill reindex INVENTORY --student promoted` builds with this student")


def _about(stage: str, result: dict[str, Any]) -> str:
    match stage:
        case "mine":
            strata = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in result["strata"].items())
            return f"{result['pairs']:,} pairs: {strata}"
        case "judge" | "judge_lists":
            return f"{result['labelled']:,} labelled, {result['yes']:,} yes"
        case "assistant":
            return f"held-out AUC {result['auc']:.3f}, F1 {result['f1']:.3f}"
        case "score":
            return f"{result['pairs']:,} pairs, mean {result['mean_score']:.3f}"
        case "student":
            score, share = result["held_out_ndcg@10"], result.get("clicks_share")
            held_out = "" if score is None else f"held-out nDCG@10 {score:.3f}, "
            alone = "clicks" if "clicks" in result.get("pairs", {"clicks": 0}) else "what was judged"
            averaged = f", {share:.0%} of its weights from {alone} alone" if share else ""
            unlearned = result.get("assistant_not_learned")
            without = f"; nothing of the assistant's lists: {unlearned}" if unlearned else ""
            return f"{held_out}{result['steps']:,} steps{averaged}{without}"
        case _:
            figures = result["comparison"]
            if not figures:
                return f"nothing was judged by {result['judged_by']}"
            compared = f"{figures['new']:.3f}, before {figures['present']:.3f}"
            return f"{figures['measure']} by {result['judged_by']} {compared}, on {figures['items']:,} items"
