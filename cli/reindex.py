"""`keydistill reindex`: an inventory becomes the live collection."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.completed_values import run_ids
from keydistill.cli.context import engine_of, settings_of, sources_of
from keydistill.cli.extras import need
from keydistill.cli.follow import executor_options, follow_order
from keydistill.cli.output import bytes_text, duration_text, print_json, progress_bars
from keydistill.cli.table_options import reading_options
from keydistill.errors import SettingsError

if TYPE_CHECKING:
    from keydistill.ingest.steps import Plan
    from keydistill.runs import ReindexRun


@click.command()
@click.argument("inventory", nargs=-1, type=click.Path(path_type=Path))
@click.option("--student", help="Student to build with: a folder, a name, promoted, or student/VERSION.")
@click.option("--dimension", type=int, help="Matryoshka dimension that vectors are cut to.")
@click.option(
    "--categories", type=click.Path(path_type=Path), help="File of the category tree (category_id, parent_id)."
)
@click.option("--max-reject-share", type=float, help="Share of rejected rows above which the run fails.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@click.option("--no-swap", is_flag=True, help="Build, verify and gate, but leave the alias where it is.")
@click.option("--take-over", is_flag=True, default=None, help="Swap although another installation owns the alias.")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=run_ids,
    help="Interrupted or failed run to take up instead of starting one.",
)
@executor_options
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def reindex(
    ctx: click.Context,
    inventory: tuple[Path, ...],
    student: str | None,
    dimension: int | None,
    categories: Path | None,
    max_reject_share: float | None,
    dry_run: bool,
    no_swap: bool,
    take_over: bool | None,
    resume: str | None,
    executor: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Build a collection from INVENTORY files (CSV, JSONL, Parquet) and put it live.

    Ctrl-C interrupts the run and does not touch what is live; --resume takes the run up again.
    """
    if bool(inventory) == bool(resume):
        raise SettingsError(
            "give inventory files to start a run, or --resume RUN to take one up; not both, not neither"
        )
    need("duckdb")
    settings = settings_of(
        ctx,
        student=student,
        dimension=dimension,
        max_reject_share=max_reject_share,
        executor=executor,
        take_over=take_over,
    )
    if settings.executor == "celery" and not dry_run:
        from keydistill.execution import ReindexOrder, order_reindex, resume_by_workers
        from keydistill.runs import reindex_of
        from keydistill.workers import sender

        send = sender(settings)
        ordered = (
            resume_by_workers(settings, resume, send)
            if resume
            else order_reindex(settings, ReindexOrder(files=inventory, categories=categories, swap=not no_swap), send)
        )
        ended = reindex_of(follow_order(ctx, settings, ordered, wait=wait, as_json=as_json))
        print_json(ended.as_dict()) if as_json else _print_run(ended)
        ctx.exit(1 if ended.state in ("failed", "cancelled") else 0)
    if not resume:
        # A resumed run goes on with the student that it began with.
        from keydistill.distillation.registry import resolve_student

        settings = settings.model_copy(update={"student": resolve_student(settings)})
    with engine_of(settings, left_in_files=False) as engine, progress_bars(quiet=as_json) as progress:
        if dry_run:
            from keydistill.ingest.steps import plan

            planned = plan(settings, engine, list(inventory), categories=categories, swap=not no_swap)
            progress.close()
            print_json(planned.as_dict()) if as_json else _print_plan(planned)
            return
        from keydistill.execution import Reindexer

        work = Reindexer(settings, engine, progress, sources_of(settings))
        try:
            run = work.resume(resume) if resume else work.start(inventory, categories=categories, swap=not no_swap)
        except KeyboardInterrupt:
            progress.close()
            if work.run is not None:
                click.echo(
                    f"interrupted while {work.run.state}; what is live was not touched; "
                    f"go on with: keydistill reindex --resume {work.run.id}",
                    err=True,
                )
                ctx.exit(130)
            raise
        progress.close()
    print_json(run.as_dict()) if as_json else _print_run(run)


def _print_plan(plan: "Plan") -> None:
    inventory = plan.inventory
    click.echo(f"rows           {inventory.rows_read:,} read, {inventory.rows_rejected:,} rejected")
    for reason, count in inventory.rejects_by_reason.items():
        click.echo(f"  rejected     {count:,} {reason}")
    click.echo(
        f"keyphrases     {plan.keyphrases:,} in {plan.parts:,} parts, {inventory.rows_merged:,} equal ones merged"
    )
    click.echo(f"  no category  {inventory.without_category:,}, found only without a category filter")
    click.echo(f"student        {plan.student_version}, dimension {plan.dimension}")
    click.echo(f"alias          {plan.alias}: {plan.previous_target or 'nothing'} -> {plan.swap_to}")
    click.echo(
        f"time           about {duration_text(plan.seconds)} at {plan.keyphrases_per_second:,.0f} keyphrases/s, "
        "measured on a sample just now"
    )
    click.echo(f"size           about {bytes_text(plan.bytes)}")
    if plan.storage_changes:
        click.echo(f"stored anew    {'; '.join(plan.storage_changes)}")
    click.echo("dry run: nothing was changed")


def _print_run(run: "ReindexRun") -> None:
    click.echo(f"run            {run.id}: {run.state}")
    if run.error:
        click.echo(f"error          {run.error}")
    if run.state == "failed":
        click.echo(f"mend it, then  keydistill reindex --resume {run.id}")
    click.echo(f"keyphrases     {run.rows:,} in {run.parts:,} parts")
    click.echo(f"collection     {run.collection}, {bytes_text(run.report.get('disk_bytes'))}")
    click.echo(f"student        {run.student_version}")
    if "storage_changes" in run.report:
        click.echo(f"stored anew    {'; '.join(run.report['storage_changes'])}")
    if "runtime" in run.report:
        click.echo(f"runtime        {run.report['runtime']}")
    click.echo("time           " + ", ".join(f"{step} {duration_text(took)}" for step, took in run.timings.items()))
    if run.state == "live":
        click.echo(f"alias          {run.alias}: {run.previous_target or 'nothing'} -> {run.collection}")
    else:
        click.echo(f"alias          {run.alias} was left at {run.previous_target or 'nothing'}")
