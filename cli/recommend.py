"""`keydistill recommend`: keyphrases for a file of items."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import engine_of, reading_settings_of
from keydistill.cli.list_options import chosen, list_options
from keydistill.cli.output import check_output, print_json, progress_bars
from keydistill.cli.table_options import writing_options

if TYPE_CHECKING:
    from keydistill.retrieval import MatchCategory

_FILE = click.Path(path_type=Path)
# Bytes of items, a thousand or two, that are answered in less time than a million keyphrases take to be read in.
_FEW_BYTES = 100_000


@click.command()
@click.argument("items", nargs=-1, required=True, type=_FILE)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV, JSONL or Parquet file to write."
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Most keyphrases per item."
)
@click.option(
    "--match-category",
    type=click.Choice(["none", "leaf", "parent"]),
    default="none",
    show_default=True,
    help="Category of the item that its keyphrases must belong to.",
)
@click.option("--min-volume", type=int, help="Least search volume of a keyphrase.")
@click.option(
    "--exclude", multiple=True, type=_FILE, help="File of pairs (item_id, keyphrase) to leave out: what is bid on."
)
@list_options
@click.option(
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Number of processes that answer."
)
@writing_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def recommend(
    ctx: click.Context,
    /,
    items: tuple[Path, ...],
    out: Path,
    limit: int,
    match_category: "MatchCategory",
    min_volume: int | None,
    exclude: tuple[Path, ...],
    assistant: str | None,
    processes: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Find keyphrases for every item in ITEMS files (CSV, JSONL, Parquet: item_id, title, category_path, site).

    All by the collection that is live when it begins. Killed or interrupted, it keeps what is answered, and the same
    command goes on from there.
    """
    check_output(ctx, "out")
    from keydistill.retrieval import BatchRequest, recommend_file
    from keydistill.tables import Conventions, total_rows

    request = BatchRequest(limit, match_category, min_volume, chosen(limit, bool(exclude), **options))
    settings = reading_settings_of(ctx, "collections", assistant=assistant)
    are_few = sum(file.stat().st_size for file in items if file.is_file()) < _FEW_BYTES
    with engine_of(settings, left_in_files=are_few) as engine, progress_bars(quiet=as_json) as progress:
        progress.start("recommend", total_rows(list(items)), "items")
        try:
            summary = recommend_file(
                settings,
                engine,
                items,
                out,
                request,
                exclude=exclude,
                processes=processes,
                conventions=Conventions.of(settings),
                progress=progress,
            )
        except KeyboardInterrupt:
            progress.close()
            click.echo("interrupted; what is answered is kept, and the same command goes on from there", err=True)
            ctx.exit(130)
        progress.close()
    if as_json:
        print_json({**asdict(summary), "out": out})
        return
    counts = f"{summary.recommendations:,} keyphrases for {summary.items:,} items"
    click.echo(f"{counts} in {out}, from {summary.collection}")
    click.echo(f"{summary.items_per_second:,.0f} items/s, {summary.peak_bytes / 1e6:,.0f} MB of memory")
    if summary.reused:
        click.echo(f"{summary.reused:,} of them had been answered before the interruption", err=True)
    if summary.short:
        click.echo(f"{summary.short:,} items got fewer than {limit}: no more keyphrases pass their filter", err=True)
    if summary.repeated:
        click.echo(f"{summary.repeated:,} items have an id that another one before them has", err=True)
    for hint in summary.hints:
        click.echo(f"note: {hint}", err=True)
    if summary.rejected:
        click.echo(f"{summary.rejected:,} rows were no items; see {summary.rejects_file}", err=True)
