"""`keydistill status`: the live collection and the unfinished runs, in a few lines."""

import click

from keydistill.cli.context import engine_of, settings_of
from keydistill.cli.output import bytes_text, print_json
from keydistill.errors import CollectionLostError
from keydistill.masking import shown_address


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show which collection is live and which runs are unfinished."""
    from keydistill.runs import open_store
    from keydistill.vectorstore import CollectionMetadata

    settings = settings_of(ctx)
    live, lost = None, None
    with engine_of(settings) as engine:
        target = engine.aliases().get(settings.alias)
        try:
            live = engine.info(target) if target else None
        except CollectionLostError as error:
            lost = str(error)
    metadata = None if live is None else CollectionMetadata.parse(live)
    unfinished = [run for run in open_store(settings).all() if not run.is_over]
    if as_json:
        print_json(
            {
                "engine": settings.engine,
                "alias": settings.alias,
                "collection": target,
                "problem": lost,
                "points": live and live.points,
                "student_version": metadata and metadata.student_version,
                "unfinished_runs": [run.id for run in unfinished],
            }
        )
        return
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
    for run in unfinished:
        click.echo(f"unfinished     {run.id}: {run.kind}, {run.state} {run.error or ''}".rstrip())
