"""`keydistill simulate`: a marketplace with known truth."""

from pathlib import Path
from typing import Any

import click

from keydistill.cli.output import print_json, print_table, progress_bars


class KnobsCommand(click.Command):
    """A command with an option for every knob; what defines them is imported when the command is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, the knobs, and `--help`."""
        own = {parameter.name for parameter in self.params}
        self.params += [knob for knob in _knobs() if knob.name not in own]
        return super().get_params(ctx)


def _knobs() -> list[click.Option]:
    from dataclasses import fields

    from keydistill.simulation import MarketplaceSettings

    options = []
    for knob in fields(MarketplaceSettings):
        name = "--" + knob.name.replace("_", "-")
        shared: dict[str, Any] = {
            "default": knob.default,
            "show_default": True,
            "help": _sentence(knob.metadata["help"]),
        }
        if knob.name == "sites":
            options.append(click.Option(["--site", "sites"], multiple=True, **shared))
            continue
        limits = knob.metadata["low"], knob.metadata["high"]
        kind = click.FloatRange(*limits) if isinstance(knob.default, float) else click.IntRange(*limits)
        options.append(click.Option([name], type=kind, **shared))
    return options


def _sentence(phrase: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}."


@click.command(cls=KnobsCommand)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Replace OUT if it holds an earlier marketplace.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(out: Path, force: bool = False, as_json: bool = False, **knobs: Any) -> None:
    """Write a simulated marketplace with known truth into the new folder OUT.

    The marketplace has items, an inventory of keyphrases, clicks, search relevance, judgments and the truth, each in a
    Parquet file. The same seed and settings give the same bytes. The options set its size, its biases and its noise;
    docs/simulation.md says what each does.
    """
    from keydistill.simulation import MarketplaceSettings
    from keydistill.simulation import simulate as write_marketplace

    settings = MarketplaceSettings(**knobs)
    with progress_bars(quiet=as_json) as bars:
        summary = write_marketplace(out, settings, bars, force=force)
        bars.close()
    if as_json:
        print_json({"out": str(out), **summary.as_json()})
        return
    facts = summary.facts
    print_table(("table", "rows"), [(name, f"{rows:,}") for name, rows in summary.rows.items()], right=("rows",))
    click.echo(
        f"\nAn item has {facts['relevant_keyphrases_per_item_median']:,.0f} relevant keyphrases (median); the search "
        f"filter rejects {facts['relevant_rejected_by_search_share']:.0%} of the relevant pairs that it judges."
    )
    click.echo(f"Wrote {out}")
