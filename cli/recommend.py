"""`keydistill recommend`: keyphrases for a file of items."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.context import engine_of, settings_of
from keydistill.cli.output import check_output, print_json, progress_bars

if TYPE_CHECKING:
    from keydistill.retrieval import MatchCategory


# Bytes of an item in a file, roughly: no export is begun for a few of them.
_ITEM_BYTES = 100


@click.command()
@click.argument("items", nargs=-1, required=True, type=click.Path(path_type=Path))
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def recommend(
    ctx: click.Context,
    items: tuple[Path, ...],
    out: Path,
    limit: int,
    match_category: "MatchCategory",
    min_volume: int | None,
    as_json: bool,
) -> None:
    """Find keyphrases for every item in ITEMS files (CSV, JSONL, Parquet: item_id, title, category_path, site)."""
    check_output(ctx, "out")
    from keydistill.retrieval import Retriever, recommend_file

    settings = settings_of(ctx)
    with engine_of(settings) as engine, progress_bars(quiet=as_json) as progress:
        # A file that is not there is told by whoever reads it.
        size = sum(file.stat().st_size for file in items if file.is_file())
        retriever = Retriever.open(settings, engine, texts=size // _ITEM_BYTES)
        progress.start("recommend", None, "items")
        summary = recommend_file(
            retriever,
            items,
            out,
            limit=limit,
            match_category=match_category,
            min_search_volume=min_volume,
            progress=progress,
        )
        progress.close()
    if as_json:
        print_json({**asdict(summary), "collection": retriever.collection, "out": out})
        return
    counts = f"{summary.recommendations:,} keyphrases for {summary.items:,} items"
    click.echo(f"{counts} in {out}, from {retriever.collection}")
    if summary.short:
        click.echo(f"{summary.short:,} items got fewer than {limit}: no more keyphrases pass their filter", err=True)
    if summary.rejected:
        click.echo(f"{summary.rejected:,} rows were no items; see {summary.rejects_file}", err=True)
