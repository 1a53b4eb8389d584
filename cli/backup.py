"""`keydistill backup`: what an installation cannot make again, in a folder or behind a URL."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from keydistill.cli.context import engine_of, reading_settings_of
from keydistill.cli.output import NEEDS_SOMEBODY, bytes_text, print_json, print_table, progress_bars, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keydistill.backup import Manifest


@click.command()
@click.argument("dest")
@click.option("--keep", type=click.IntRange(min=1), help="Number of backups that stay; earlier ones are deleted.")
@click.option("--verify", is_flag=True, help="Read the backup back and compare every digest.")
@click.option("--list", "only_list", is_flag=True, help="List the backups in DEST and make none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def backup(ctx: click.Context, dest: str, keep: int | None, verify: bool, only_list: bool, as_json: bool) -> None:
    """Back up collections, aliases, models, runs and history to DEST, a folder or any URL that fsspec knows.

    Runs go on meanwhile. What an earlier backup in DEST holds is not written again. The exit status is 3 if something
    could not be backed up, which is then named.
    """
    from keydistill.backup import Archive, Backup
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx)
    archive = Archive(dest)
    if only_list:
        _list(archive.shown, [archive.manifest(backup_id) for backup_id in archive.manifests()], as_json)
        return
    with engine_of(settings) as engine, progress_bars(quiet=as_json) as progress:
        report = Backup(settings, engine, open_store(settings), archive, progress).make(keep=keep, verify=verify)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(f"backup         {report.backup} in {archive.shown}")
        for name, points in report.collections.items():
            click.echo(f"collection     {name}, {points:,} points")
        click.echo(f"files          {report.files:,}, {bytes_text(report.bytes)}")
        click.echo(f"written        {report.written:,}, {bytes_text(report.written_bytes)}; the others were there")
        if report.verified:
            click.echo("verified       every file is what it should be")
        if report.dropped:
            click.echo(f"deleted        {', '.join(report.dropped)}")
    for what, why in report.left_out.items():
        warn(f"left out: {what}: {why}")
    if report.left_out and keep is not None:
        warn("no earlier backup was deleted: one of them may be the only one that has what was left out")
    ctx.exit(NEEDS_SOMEBODY if report.left_out else 0)


def _list(shown: str, manifests: "Sequence[Manifest]", as_json: bool) -> None:
    rows = [
        (each.id, each.created_at, each.engine, sum(saved.points for saved in each.collections.values()))
        for each in manifests
    ]
    if as_json:
        print_json([dict(zip(("backup", "created_at", "engine", "points"), row, strict=True)) for row in rows])
    elif rows:
        print_table(
            ("backup", "made", "engine", "points"), [(*row[:3], f"{row[3]:,}") for row in rows], right=("points",)
        )
    else:
        click.echo(f"no backups in {shown} yet; make one with `keydistill backup DEST`")
