"""`keydistill status`: the live collection and the unfinished runs, in a few lines."""

from typing import TYPE_CHECKING

import click

from keydistill.cli.context import engine_of, reading_settings_of
from keydistill.cli.output import CANNOT_WORK, NEEDS_SOMEBODY, bytes_text, print_json
from keydistill.errors import CollectionLostError, one_line
from keydistill.masking import shown_address

if TYPE_CHECKING:
    from keydistill.settings import Settings


@click.command()
@click.option("--node", help="Look at this worker alone, as at control@HOST, or at the beat, beat@HOST.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, node: str | None, as_json: bool) -> None:
    """Show which collection is live, which runs are unfinished, and whether workers and the beat are alive.

    The exit status is 0 if nothing is wrong, 3 if a run, a worker, the beat or a schedule needs somebody, 4 if the live
    collection is lost, and 1 if the engine or Redis cannot be asked.
    """
    from keydistill.execution import findings, signs_of
    from keydistill.ingest.aliases import AliasHistory
    from keydistill.runs import open_store, unfinished_runs
    from keydistill.vectorstore import CollectionMetadata

    settings = reading_settings_of(ctx)
    if node is not None:
        if not node:
            raise click.UsageError("--node is empty; name a worker or the beat, as `keydistill status` shows them")
        _look_at(ctx, settings, node)
    live, lost = None, None
    store = open_store(settings)
    with engine_of(settings) as engine:
        target = engine.aliases().get(settings.alias)
        try:
            live = engine.info(target) if target else None
        except CollectionLostError as error:
            lost = str(error)
        hold = AliasHistory(engine, store, settings.alias).hold()
    metadata = None if live is None else CollectionMetadata.parse(live)
    unfinished = unfinished_runs(store.all())
    signs = signs_of(settings)
    problems = findings(settings, store, signs)
    exit_status = CANNOT_WORK if lost is not None else NEEDS_SOMEBODY if problems else 0
    if as_json:
        print_json(
            {
                "engine": settings.engine,
                "alias": settings.alias,
                "collection": target,
                "problem": lost,
                "hold": hold and {"since": hold.at, "by": hold.by, "why": hold.why},
                "points": live and live.points,
                "student_version": metadata and metadata.student_version,
                "unfinished_runs": [run.id for run in unfinished],
                "paused_runs": {
                    run.id: {"since": run.paused.at, "by": run.paused.by} for run in unfinished if run.paused
                },
                "nodes": [{"name": sign.name, "queues": sign.queues, "age": round(sign.age_seconds)} for sign in signs],
                "findings": [
                    {"severity": finding.severity, "run": finding.run, "text": finding.text} for finding in problems
                ],
            }
        )
        ctx.exit(exit_status)
    where = settings.home if settings.engine == "embedded" else shown_address(settings.qdrant_url)
    click.echo(f"engine         {settings.engine}, {where}")
    if lost is not None:
        click.echo(f"alias          {settings.alias} -> {target}")
        click.echo(f"lost           {lost}")
    elif live is None or metadata is None:
        click.echo(f"alias          {settings.alias} names nothing yet; start with `keydistill reindex INVENTORY`")
    else:
        click.echo(f"alias          {settings.alias} -> {live.name}")
        about = "about " if live.disk_is_estimated else ""
        click.echo(f"points         {live.points or 0:,}, {about}{bytes_text(live.disk_bytes)}")
        click.echo(f"student        {metadata.student_version or '-'}")
        click.echo(f"built          {metadata.created_at or '-'} by run {metadata.run or '-'}")
    if hold is not None:
        click.echo(f"held           since {hold.at} by {hold.by}: {hold.why}")
    reasons = {finding.run: finding.text for finding in problems}
    for run in unfinished:
        state = f"{run.state}, {run.paused}" if run.is_paused else run.state
        reason = one_line(reasons.get(run.id, ""))
        if run.state == "failed":
            go_on = f"`keydistill {run.kind} --resume {run.id}`"
            reason = f"because: {reason}; mend it, then {go_on}, or `keydistill runs cancel {run.id}`"
        click.echo(f"unfinished     {run.id}: {run.kind}, {state} {reason}".rstrip())
    for sign in signs:
        kind = f"worker of {', '.join(sign.queues)}" if sign.queues else "beat"
        click.echo(f"node           {sign.name}, {kind}, last sign of life {sign.age_seconds:,.0f} s ago")
    for finding in (one for one in problems if one.run is None):
        click.echo(f"{finding.severity:<15}{one_line(finding.text)}")
    ctx.exit(exit_status)


def _look_at(ctx: click.Context, settings: "Settings", node: str) -> None:
    """End the command with what the last sign of a worker or beat says."""
    from keydistill.execution import finding_of_sign, signs_of

    sign = next((sign for sign in signs_of(settings) if sign.name == node), None)
    problem = f"{node} has given no sign of life" if sign is None else finding_of_sign(sign)
    click.echo(f"{node}: {'alive' if problem is None else problem}")
    ctx.exit(0 if problem is None else NEEDS_SOMEBODY)
