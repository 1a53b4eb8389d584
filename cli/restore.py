"""`keydistill restore`: a backup becomes an installation again."""

from dataclasses import asdict

import click

from keydistill.cli.context import engine_of, settings_of
from keydistill.cli.output import print_json, progress_bars
from keydistill.errors import StorageError


@click.command()
@click.argument("source")
@click.option("--backup", "backup_id", metavar="ID", help="Backup to restore; otherwise the latest.")
@click.option(
    "--force", is_flag=True, help="Restore although something is here: add what is missing and move the aliases."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, read the backup and compare every digest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def restore(ctx: click.Context, source: str, backup_id: str | None, force: bool, dry_run: bool, as_json: bool) -> None:
    """Bring back what `keydistill backup` put into SOURCE, into the home and engine of the settings.

    The engine may be another one than the backup was made from. Nothing that exists is replaced. A restore that was
    killed goes on where it was when the same command is given again.
    """
    from keydistill.backup import Archive, Restoring
    from keydistill.runs import open_store

    settings = settings_of(ctx)
    archive = Archive(source)
    manifest = archive.manifest(backup_id)
    with engine_of(settings, left_in_files=False) as engine, progress_bars(quiet=as_json) as progress:
        restoring = Restoring(settings, engine, open_store(settings), archive, manifest, progress)
        if dry_run:
            plan = restoring.plan()
            problems = archive.damage(manifest)
            if problems:
                raise StorageError(f"backup {manifest.id} is damaged: {next(iter(problems.values()))}")
        else:
            plan = restoring.restore(force=force)
    if as_json:
        print_json({**asdict(plan), "done": not dry_run})
        return
    click.echo(f"backup         {plan.backup} of {manifest.created_at}, every file is what it should be")
    for what in plan.present if dry_run else ():
        click.echo(f"here already   {what}")
    for name, points in plan.make.items():
        click.echo(f"{'to make' if dry_run else 'made':<15}{name}, {points:,} points")
    for name, reasons in plan.stored_anew.items():
        for reason in reasons:
            click.echo(f"stored anew    {name}: {reason}")
    for name, why in plan.keep.items():
        click.echo(f"kept           {name}: {why}")
    for alias, (before, target) in plan.point.items():
        click.echo(f"alias          {alias} -> {target}" + (f", named {before}" if before else ""))
    if not dry_run:
        click.echo(
            f"settings       {settings.home / 'restored' / f'{manifest.id}-settings.json'}; secrets are not in it"
        )
