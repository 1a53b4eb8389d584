"""`keydistill bench`: the figures that plans are made of, measured on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.context import settings_of
from keydistill.cli.extras import need
from keydistill.cli.output import bytes_text, print_json, progress_bars

if TYPE_CHECKING:
    from keydistill.capacity import Figures


@click.command()
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    multiple=True,
    help="File of real keyphrases to measure with; without it simulated ones.",
)
@click.option("--points", type=click.IntRange(min=100), help="Keyphrases of the larger of two trial collections.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File of the figures; else in the home.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def bench(ctx: click.Context, inventory: tuple[Path, ...], points: int | None, out: Path | None, as_json: bool) -> None:
    """Measure what `keydistill plan` needs: rates, times and sizes on this machine, in about two minutes.

    The student of the settings embeds some keyphrases, and two trial collections of the embedded engine are built, read
    and changed in a folder that is removed at the end. What is live is not touched; what else the machine does counts
    in. The figures are kept in figures.json in the home.
    """
    need("duckdb")
    from keydistill.capacity import figures_file, measure, write_figures

    settings = settings_of(ctx)
    with progress_bars(quiet=as_json) as progress:
        figures = measure(settings, inventory, points=points, progress=progress)
        progress.close()
    path = figures_file(settings) if out is None else out
    write_figures(path, figures)
    print_json({"file": str(path), **figures.as_dict()}) if as_json else _print(figures, path)


def _print(figures: "Figures", path: Path) -> None:
    machine, embedding, sync = figures.machine, figures.embedding, figures.sync
    click.echo(f"machine        {machine['cpu']}, {machine['cores']} cores, {bytes_text(machine['memory_bytes'])}")
    click.echo(f"student        {embedding.student} by {embedding.runtime}")
    click.echo(
        f"embed          {embedding.keyphrases_per_second:,.0f} keyphrases/s with {embedding.threads} threads, "
        f"{embedding.one_thread_per_second:,.0f} with one"
    )
    click.echo(f"snapshot       {figures.snapshot_rows_per_second:,.0f} rows/s")
    for trial in figures.trials:
        size = sum(trial.disk.values())
        click.echo(f"trial          {trial.points:,} points of {trial.dimension} dimensions, {figures.quantization}")
        click.echo(f"  write        {trial.points / trial.write_seconds:,.0f} points/s")
        click.echo(
            f"  optimise     {trial.optimise_seconds:.1f} s, {trial.points / trial.optimise_seconds:,.0f} points/s"
        )
        click.echo(f"  disk         {bytes_text(size)}, {bytes_text(trial.peak_disk_bytes)} while it was built")
        click.echo(f"  query        p50 {trial.query_p50_ms:.2f} ms, p99 {trial.query_p99_ms:.2f} ms, by category")
    click.echo(
        f"sync           {sync.changed:,} of {sync.points:,} changed: copy {sync.copy_seconds:.1f} s, "
        f"write and index {sync.finish_seconds:.1f} s"
    )
    click.echo(f"file           {path}")
