"""`keydistill demo`: the whole product once, on a simulated marketplace."""

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from keydistill.cli.output import print_table

_LIMIT = 10
_SHOWN_ITEMS = 2
_DEFAULT_HOME = Path("demo-data")
# Pairs per item that the judge labels for the distillation.
_JUDGED = 8

Lists = Mapping[str, Sequence[str]]


@click.command()
@click.option("--items", type=click.IntRange(50), default=300, show_default=True, help="Number of items to simulate.")
@click.option(
    "--keyphrases",
    type=click.IntRange(500),
    default=3_000,
    show_default=True,
    help="Number of keyphrases to simulate.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the simulation and of all training.",
)
@click.option("--dir", "former", hidden=True, help="Former folder of the demo, in place of which there is --home.")
@click.pass_context
def demo(ctx: click.Context, items: int, keyphrases: int, seed: int, former: str | None) -> None:
    """See the whole product work once, on a simulated marketplace.

    The first minute shows what the untrained student recommends. Then one student is trained on clicks alone, another
    is distilled from a (simulated) judge, a collection of each goes live in turn, and what all three recommend is
    compared with the truth. Every command that runs is printed first.

    All of it is kept in the home: `demo-data` where neither --home nor a setting names one.
    """
    if former is not None:
        raise click.UsageError(
            f"there is no --dir any more: everything is kept in the home, as in `keydistill --home {former} demo`"
        )
    from keydistill.cli.simulate import simulate

    home = _home(ctx)
    market = home / "marketplace"
    click.echo(f"$ keydistill simulate {market} --items {items} --keyphrases {keyphrases} --seed {seed} --force")
    ctx.invoke(simulate, out=market, items=items, keyphrases=keyphrases, seed=seed, force=True)
    # What can be shown at once comes first: the trainings take minutes.
    recommended = {"untrained": _recommended(ctx, market, home, None)}
    _print_lists(market, recommended)
    click.echo("\nThat was the untrained student. Now two more are trained, which takes minutes.")
    clicks_student = _train_on_clicks(ctx, market, home, seed)
    _distil(ctx, market, home, items * _JUDGED, seed)
    recommended["clicks alone"] = _recommended(ctx, market, home, clicks_student)
    recommended["distilled"] = _recommended(ctx, market, home, "promoted")
    _print_lists(market, {name: recommended[name] for name in ("untrained", "distilled")})
    _print_scores(market, recommended)


def _home(ctx: click.Context) -> Path:
    """The home of the demo, which is also that of the commands it runs.

    Raises:
        SettingsError: It holds something else than a demo, or a server has something else live.
    """
    from keydistill.errors import SettingsError
    from keydistill.settings import load_settings
    from keydistill.vectorstore import open_engine

    options = ctx.find_root().obj
    settings = load_settings(**options)
    home = settings.home if "home" in settings.model_fields_set else _DEFAULT_HOME
    # What begins with a dot is what a demo left that was killed before it had its marketplace.
    others = (
        {entry.name for entry in home.iterdir() if not entry.name.startswith(".marketplace.")} if home.is_dir() else ()
    )
    if others and "marketplace" not in others:
        raise SettingsError(
            f"{home} holds something else than a demo, which would put its own collection live there; "
            f"expected an empty or new home, as in `keydistill --home {_DEFAULT_HOME} demo`"
        )
    if settings.engine != "embedded" and not others:
        with closing(open_engine(settings)) as engine:
            live = engine.aliases().get(settings.alias)
        if live is not None:
            raise SettingsError(
                f"alias {settings.alias!r} names {live!r} there, and the demo would put its own collection live; "
                "expected an alias of its own, as in `KEYDISTILL_ALIAS=demo`"
            )
    # The commands that it prints are to be short.
    here = Path.cwd()
    options["home"] = home = home.relative_to(here) if home.is_relative_to(here) else home
    return home


def _train_on_clicks(ctx: click.Context, market: Path, home: Path, seed: int) -> str:
    """Train a student on the clicks and return its name in the registry."""
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


def _recommended(ctx: click.Context, market: Path, home: Path, student: str | None) -> Lists:
    """Build a collection with this student, and return what it recommends: item id to keyphrases, best first."""
    import pyarrow.parquet as pq

    from keydistill.cli.recommend import recommend
    from keydistill.cli.reindex import reindex

    out = home / "recommendations.parquet"
    inventory, items = market / "inventory.parquet", market / "items.parquet"
    choice = "" if student is None else f" --student {student}"
    click.echo(f"\n$ keydistill --home {home} reindex {inventory}{choice}")
    ctx.invoke(reindex, inventory=(inventory,), student=student)
    click.echo(f"\n$ keydistill --home {home} recommend {items} --out {out}")
    ctx.invoke(recommend, items=(items,), out=out, limit=_LIMIT)
    lists: dict[str, list[str]] = {}
    rows: list[dict[str, Any]] = pq.read_table(out, columns=["item_id", "rank", "keyphrase"]).to_pylist()
    for row in sorted(rows, key=lambda row: row["rank"]):
        lists.setdefault(row["item_id"], []).append(row["keyphrase"])
    return lists


def _print_lists(market: Path, recommended: Mapping[str, Lists]) -> None:
    """Print the lists of a few items, the students side by side."""
    import pyarrow.parquet as pq

    from keydistill.simulation import read_truth

    truth = read_truth(market / "truth.parquet")
    items = pq.read_table(market / "items.parquet", columns=["item_id", "title", "category_path"]).to_pylist()
    with_truth = [item for item in items if truth.get(item["item_id"])]
    step = max(1, len(with_truth) // _SHOWN_ITEMS)
    for item in with_truth[::step][:_SHOWN_ITEMS]:
        relevant = truth[item["item_id"]]
        click.echo("\n" + "\n".join(textwrap.wrap(item["title"], 100)))
        click.echo(f"in {item['category_path']}; {len(relevant)} keyphrases of the inventory are right for it\n")
        columns = [
            [
                f"{'right' if keyphrase in relevant else 'WRONG'}  {keyphrase}"
                for keyphrase in lists.get(item["item_id"], [])
            ]
            for lists in recommended.values()
        ]
        print_table(tuple(recommended), zip_longest(*columns, fillvalue=""))


def _print_scores(market: Path, recommended: Mapping[str, Lists]) -> None:
    """Print how much of the truth each student's lists hold, over all items."""
    from keydistill.simulation import read_truth, score

    truth = read_truth(market / "truth.parquet")
    scores = {name: score(truth, lists, _LIMIT) for name, lists in recommended.items()}
    figures = ("items", f"precision@{_LIMIT}", f"recall@{_LIMIT}")
    best = next(iter(scores.values()))
    rows = [(name, of.items, of.precision, of.recall) for name, of in scores.items()]
    rows.append(("best possible", best.items, best.best_precision, best.best_recall))
    click.echo()
    print_table(
        ("student", *figures),
        [(name, f"{items:,}", f"{precision:.3f}", f"{recall:.3f}") for name, items, precision, recall in rows],
        right=figures,
    )
