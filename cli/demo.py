"""`keydistill demo`: the whole product once, on a simulated marketplace."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from keydistill.cli.output import print_table

_LIMIT = 10
_SHOWN_ITEMS = 2
# Judged pairs of the distillation, per item.
_JUDGED = 8

Lists = Mapping[str, Sequence[str]]


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-data"),
    show_default=True,
    help="Where the marketplace, its runs, models and collections go.",
)
@click.option("--items", type=click.IntRange(50), default=300, show_default=True, help="Items to simulate.")
@click.option(
    "--keyphrases", type=click.IntRange(500), default=3_000, show_default=True, help="Keyphrases to simulate."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulation and of all training.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, items: int, keyphrases: int, seed: int) -> None:
    """See the whole product work once, on a simulated marketplace.

    Simulates, trains a student on clicks alone, distils another from a (simulated) judge, and puts three collections
    live in turn: of the base student, of the one and of the other. What they recommend is compared with the truth. Runs
    the same commands that it prints.
    """
    from keydistill.cli.simulate import simulate

    market, home = folder / "marketplace", folder / "home"
    ctx.find_root().obj["home"] = home
    click.echo(f"$ keydistill simulate {market} --items {items} --keyphrases {keyphrases} --seed {seed} --force")
    ctx.invoke(simulate, out=market, items=items, keyphrases=keyphrases, seed=seed, force=True)
    clicks = _train_on_clicks(ctx, market, home, seed)
    _distil(ctx, market, home, items * _JUDGED, seed)
    students = {"untrained": None, "clicks alone": clicks, "distilled": "promoted"}
    found = {name: _recommended(ctx, market, folder, student) for name, student in students.items()}
    _print_comparison(market, found)


def _train_on_clicks(ctx: click.Context, market: Path, home: Path, seed: int) -> str:
    """A student of the clicks; returns its name in the registry."""
    from keydistill.cli.train_student import student

    files = {"items": market / "items.parquet", "clicks": market / "clicks.parquet"}
    options = " ".join(f"--{name} {path}" for name, path in files.items())
    click.echo(f"\n$ keydistill --home {home} train student {options} --seed {seed}")
    trained: str = ctx.invoke(student, **{**files, "clicks": (files["clicks"],)}, seed=seed)
    return trained


def _distil(ctx: click.Context, market: Path, home: Path, judged_pairs: int, seed: int) -> None:
    from keydistill.cli.retrain import retrain

    options = {"simulation": market, "judged_pairs": judged_pairs, "seed": seed}
    line = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
    click.echo(f"\n$ keydistill --home {home} retrain {market} {line} --promote")
    ctx.invoke(retrain, signals=market, promote=True, **options)


def _recommended(ctx: click.Context, market: Path, folder: Path, student: str | None) -> Lists:
    """What a collection of this student's recommends: item id to keyphrases, best first."""
    import pyarrow.parquet as pq

    from keydistill.cli.recommend import recommend
    from keydistill.cli.reindex import reindex

    home, out = folder / "home", folder / "recommendations.parquet"
    inventory, items = market / "inventory.parquet", market / "items.parquet"
    choice = "" if student is None else f" --student {student}"
    click.echo(f"\n$ keydistill --home {home} reindex {inventory}{choice}")
    ctx.invoke(reindex, inventory=(inventory,), student=student)
    click.echo(f"\n$ keydistill --home {home} recommend {items} --out {out}")
    ctx.invoke(recommend, items=(items,), out=out, limit=_LIMIT)
    found: dict[str, list[str]] = {}
    rows: list[dict[str, Any]] = pq.read_table(out, columns=["item_id", "rank", "keyphrase"]).to_pylist()
    for row in sorted(rows, key=lambda row: row["rank"]):
        found.setdefault(row["item_id"], []).append(row["keyphrase"])
    return found


def _print_comparison(market: Path, found: Mapping[str, Lists]) -> None:
    import pyarrow.parquet as pq

    from keydistill.simulation import read_truth, score

    truth = read_truth(market / "truth.parquet")
    items = pq.read_table(market / "items.parquet", columns=["item_id", "title", "category_path"]).to_pylist()
    with_truth = [item for item in items if truth.get(item["item_id"])]
    step = max(1, len(with_truth) // _SHOWN_ITEMS)
    for item in with_truth[::step][:_SHOWN_ITEMS]:
        relevant = truth[item["item_id"]]
        click.echo("\n" + "\n".join(textwrap.wrap(item["title"], 100)))
        click.echo(f"  in {item['category_path']}; {len(relevant)} keyphrases of the inventory are right for it")
        for name in (next(iter(found)), [*found][-1]):
            click.echo(f"  {name}:")
            for keyphrase in found[name].get(item["item_id"], []):
                click.echo(f"    {'right' if keyphrase in relevant else 'WRONG'}  {keyphrase}")
    click.echo()
    scores = {name: score(truth, lists, _LIMIT) for name, lists in found.items()}
    figures = ("items", f"precision@{_LIMIT}", f"recall@{_LIMIT}")
    best = next(iter(scores.values()))
    rows = [(name, of.items, of.precision, of.recall) for name, of in scores.items()]
    rows.append(("best possible", best.items, best.best_precision, best.best_recall))
    print_table(
        ("student", *figures),
        [(name, f"{items:,}", f"{precision:.3f}", f"{recall:.3f}") for name, items, precision, recall in rows],
        right=figures,
    )
