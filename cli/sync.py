"""`keydistill sync`: what is live is brought to a new state of the inventory."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.completed_values import run_ids
from keydistill.cli.context import engine_of, settings_of, sources_of
from keydistill.cli.extras import need
from keydistill.cli.follow import executor_options, follow_order
from keydistill.cli.output import print_json, progress_bars
from keydistill.cli.table_options import reading_options
from keydistill.errors import SettingsError

if TYPE_CHECKING:
    from keydistill.ingest.steps import SyncPlan
    from keydistill.runs import SyncRun


@click.command()
@click.argument("inventory", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--categories", type=click.Path(path_type=Path), help="File of the category tree (category_id, parent_id)."
)
@click.option("--max-reject-share", type=float, help="Share of rejected rows above which the sync fails.")
@click.option("--max-removed-share", type=float, help="Share of removed keyphrases above which the sync fails.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=run_ids,
    help="Interrupted or failed sync to take up instead of starting one.",
)
@executor_options
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sync(
    ctx: click.Context,
    inventory: tuple[Path, ...],
    categories: Path | None,
    max_reject_share: float | None,
    max_removed_share: float | None,
    dry_run: bool,
    resume: str | None,
    executor: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Bring what is live to the new state of the whole INVENTORY (CSV, JSONL, Parquet), embedding only what is new.

    Collections that are being built, or that are rolled back to later, get the same changes.
    """
    if bool(inventory) == bool(resume):
        raise SettingsError(
            "give inventory files to start a sync, or --resume RUN to take one up; not both, not neither"
        )
    need("duckdb")
    settings = settings_of(
        ctx, max_reject_share=max_reject_share, max_removed_share=max_removed_share, executor=executor
    )
    if settings.executor == "celery" and not dry_run:
        from keydistill.execution import SyncOrder, order_sync, resume_by_workers
        from keydistill.runs import sync_of
        from keydistill.workers import sender

        send = sender(settings)
        ordered = (
            resume_by_workers(settings, resume, send)
            if resume
            else order_sync(settings, SyncOrder(files=inventory, categories=categories), send)
        )
        ended = sync_of(follow_order(ctx, settings, ordered, wait=wait, as_json=as_json))
        print_json(ended.as_dict()) if as_json else _print_run(ended)
        ctx.exit(1 if ended.state in ("failed", "cancelled") else 0)
    from keydistill.execution import Syncer

    with engine_of(settings, left_in_files=False) as engine, progress_bars(quiet=as_json) as progress:
        work = Syncer(settings, engine, progress, sources_of(settings))
        if dry_run:
            if resume:
                raise SettingsError("--dry-run says what a new sync would change; it does not go with --resume")
            plan = work.plan(inventory, categories=categories)
            progress.close()
            print_json(plan.as_dict()) if as_json else _print_plan(plan)
            return
        try:
            run = work.resume(resume) if resume else work.start(inventory, categories=categories)
        except KeyboardInterrupt:
            progress.close()
            if work.run is not None:
                click.echo(
                    f"interrupted while {work.run.state}; go on with: keydistill sync --resume {work.run.id}", err=True
                )
                ctx.exit(130)
            raise
        progress.close()
    print_json(run.as_dict()) if as_json else _print_run(run)


def _print_plan(plan: "SyncPlan") -> None:
    changes = plan.changes
    click.echo(f"collection     {plan.collection}")
    click.echo(f"keyphrases     {plan.rows:,}")
    click.echo(f"  added        {changes.added:,}, to be embedded")
    click.echo(f"  changed      {changes.changed:,}, in fields beside the text")
    click.echo(f"  removed      {changes.removed:,}")
    click.echo(f"  unchanged    {changes.unchanged:,}")
    if plan.refused:
        click.echo(f"refused        {plan.refused}")
    click.echo("dry run: nothing was changed")


def _print_run(run: "SyncRun") -> None:
    click.echo(f"run            {run.id}: {run.state}")
    if run.error:
        click.echo(f"error          {run.error}")
    if run.state == "failed":
        click.echo(f"mend it, then  keydistill sync --resume {run.id}")
    if run.state == "done":
        click.echo(f"keyphrases     {run.rows:,}")
    if run.state == "done" and not run.changes:
        click.echo("changes        none")
    for collection, changes in run.changes.items():
        what = (
            f"skipped: {changes['skipped']}"
            if "skipped" in changes
            else ", ".join(f"{count:,} {name}" for name, count in changes.items())
        )
        click.echo(f"{collection}  {what}")
    ran = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in run.timings.items())
    click.echo(f"time           {ran}")
