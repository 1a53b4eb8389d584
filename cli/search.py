"""`keydistill search`: keyphrases for one title."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import engine_of, reading_settings_of
from keydistill.cli.list_options import chosen, list_options
from keydistill.cli.output import print_json, print_table

if TYPE_CHECKING:
    from keydistill.retrieval import Recommendation


@click.command()
@click.argument("title")
@click.option("--category", help="Category of the keyphrases, such as 'A > B', with all below it.")
@click.option("--site", help="Marketplace site of the keyphrases.")
@click.option("--min-volume", type=int, help="Least search volume of a keyphrase.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Most keyphrases to show.")
@click.option("--exclude", multiple=True, metavar="KEYPHRASE", help="Keyphrase to leave out: what is bid on already.")
@list_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def search(
    ctx: click.Context,
    /,
    title: str,
    category: str | None,
    site: str | None,
    min_volume: int | None,
    limit: int,
    exclude: tuple[str, ...],
    assistant: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find keyphrases for TITLE in the live collection."""
    from keydistill.retrieval import Retriever, reranker_of
    from keydistill.vectorstore import keyphrase_filter

    choice = chosen(limit, bool(exclude), **options)
    settings = reading_settings_of(ctx, "collections", assistant=assistant)
    with engine_of(settings) as engine:
        leaf = _category(category)
        filter = keyphrase_filter(
            category=leaf,
            site=site,
            min_search_volume=min_volume,
        )
        hits = Retriever.open(settings, engine, texts=1).recommend(
            [title],
            limit,
            [filter],
            categories=[leaf],
            options=choice,
            excluded=[exclude] if exclude else None,
            reranker=reranker_of(settings) if choice is not None and choice.rerank else None,
        )[0]
    if as_json:
        print_json([hit.as_dict() for hit in hits])
        return
    if not hits:
        click.echo("no keyphrase passes the filter", err=True)
        return
    _print(hits)


def _print(hits: "Sequence[Recommendation]") -> None:
    rows = [
        {
            "score": f"{hit.score:.3f}",
            "keyphrase": hit.keyphrase,
            "search volume": str(hit.payload.get("search_volume", "-")),
            # Of a path and its ancestors the longest is the deepest.
            "category": max(hit.payload.get("category_ids", ["-"]), key=len),
            "variants": ", ".join(hit.variants),
            "fallback": hit.fallback or "",
            "because": "" if hit.explanation is None else hit.explanation.text(),
        }
        for hit in hits
    ]
    always = ("score", "keyphrase", "search volume", "category")
    headings = [heading for heading in rows[0] if heading in always or any(row[heading] for row in rows)]
    print_table(headings, [[row[heading] for heading in headings] for row in rows], right=("score", "search volume"))


def _category(text: str | None) -> str | None:
    """The category that the option names, read as in all tables."""
    from keydistill.errors import InputError
    from keydistill.tables import RejectedValueError, leaf_category

    try:
        return leaf_category(None, text)
    except RejectedValueError as problem:
        raise InputError(f"--category {text!r} {problem.detail}; expected one like 'Clothing > Shoes'") from None
