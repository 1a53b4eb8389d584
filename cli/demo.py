"""`keydistill demo`: the whole product once, on a simulated marketplace."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.output import print_table

_LIMIT = 10
_SHOWN_ITEMS = 3


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-data"),
    show_default=True,
    help="Where the marketplace, its runs and collections go.",
)
@click.option("--items", type=click.IntRange(_SHOWN_ITEMS), default=2_000, show_default=True, help="Items to simulate.")
@click.option(
    "--keyphrases", type=click.IntRange(100), default=20_000, show_default=True, help="Keyphrases to simulate."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the simulation.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, items: int, keyphrases: int, seed: int) -> None:
    """See the whole product work once, on a simulated marketplace.

    Simulates, builds a collection with the base student, puts it live, recommends, and compares with the truth. Runs
    the same commands that it prints.
    """
    from cli.recommend import recommend
    from cli.reindex import reindex
    from cli.simulate import simulate

    market, home, out = folder / "marketplace", folder / "home", folder / "recommendations.parquet"
    ctx.find_root().obj["home"] = home

    click.echo(f"$ keydistill simulate {market} --items {items} --keyphrases {keyphrases} --seed {seed} --force")
    ctx.invoke(simulate, out=market, items=items, keyphrases=keyphrases, seed=seed, force=True)
    click.echo(f"\n$ keydistill --home {home} reindex {market / 'inventory.parquet'}")
    ctx.invoke(reindex, inventory=(market / "inventory.parquet",))
    found: dict[str, dict[str, list[str]]] = {}
    for match in ("none", "leaf"):
        click.echo(
            f"\n$ keydistill --home {home} recommend {market / 'items.parquet'} --out {out} --match-category {match}"
        )
        ctx.invoke(recommend, items=(market / "items.parquet",), out=out, limit=_LIMIT, match_category=match)
        found[match] = _recommended(out)
    _print_comparison(market, found)


def _recommended(path: Path) -> dict[str, list[str]]:
    """Item id to its keyphrases, best first."""
    import pyarrow.parquet as pq

    found: dict[str, list[str]] = {}
    rows: list[dict[str, Any]] = pq.read_table(path, columns=["item_id", "rank", "keyphrase"]).to_pylist()
    for row in sorted(rows, key=lambda row: row["rank"]):
        found.setdefault(row["item_id"], []).append(row["keyphrase"])
    return found


def _print_comparison(market: Path, found: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    import pyarrow.parquet as pq

    from simulation import read_truth, score

    truth = read_truth(market / "truth.parquet")
    items = pq.read_table(market / "items.parquet", columns=["item_id", "title", "category_path"]).to_pylist()
    with_truth = [item for item in items if truth.get(item["item_id"])]
    step = max(1, len(with_truth) // _SHOWN_ITEMS)
    for item in with_truth[::step][:_SHOWN_ITEMS]:
        relevant = truth[item["item_id"]]
        click.echo("\n" + "\n".join(textwrap.wrap(item["title"], 100)))
        click.echo(f"  in {item['category_path']}; {len(relevant)} keyphrases of the inventory are right for it")
        for keyphrase in found["leaf"].get(item["item_id"], []):
            click.echo(f"  {'right' if keyphrase in relevant else 'WRONG'}  {keyphrase}")
    click.echo()
    scores = {match: score(truth, recommended, _LIMIT) for match, recommended in found.items()}
    labels = {"none": "whole inventory", "leaf": "item's leaf category"}
    print_table(
        ("base student, untrained", "items", f"precision@{_LIMIT}", f"recall@{_LIMIT}", "best possible recall"),
        [
            (labels[match], f"{of.items:,}", f"{of.precision:.3f}", f"{of.recall:.3f}", f"{of.best_recall:.3f}")
            for match, of in scores.items()
        ],
        right=("items", f"precision@{_LIMIT}", f"recall@{_LIMIT}", "best possible recall"),
    )
