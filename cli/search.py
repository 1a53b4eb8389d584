"""`keydistill search`: keyphrases for one title."""

import click

from keydistill.cli.context import engine_of, settings_of
from keydistill.cli.output import print_json, print_table


@click.command()
@click.argument("title")
@click.option("--category", help="Category of the keyphrases, such as 'A > B', with all below it.")
@click.option("--site", help="Marketplace site of the keyphrases.")
@click.option("--min-volume", type=int, help="Least search volume of a keyphrase.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Most keyphrases to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def search(
    ctx: click.Context,
    title: str,
    category: str | None,
    site: str | None,
    min_volume: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find keyphrases for TITLE in the live collection."""
    from keydistill.retrieval import Retriever
    from keydistill.tables import leaf_category
    from keydistill.vectorstore import keyphrase_filter

    settings = settings_of(ctx)
    with engine_of(settings) as engine:
        filter = keyphrase_filter(
            category=leaf_category(None, category),
            site=site,
            min_search_volume=min_volume,
        )
        hits = Retriever.open(settings, engine, texts=1).recommend([title], limit, [filter], categories=[category])[0]
    if as_json:
        print_json([{"keyphrase": hit.keyphrase, "score": round(hit.score, 6), "payload": hit.payload} for hit in hits])
        return
    if not hits:
        click.echo("no keyphrase passes the filter", err=True)
        return
    print_table(
        ("score", "keyphrase", "search volume", "category"),
        [
            (
                f"{hit.score:.3f}",
                hit.keyphrase,
                hit.payload.get("search_volume", "-"),
                # Of a path and its ancestors the longest is the deepest.
                max(hit.payload.get("category_ids", ["-"]), key=len),
            )
            for hit in hits
        ],
        right=("score", "search volume"),
    )
