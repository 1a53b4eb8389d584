"""`keydistill signals`: what training learns from, checked and imported."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import print_hints, print_json, print_rejects, print_table, progress_bars
from keydistill.cli.signal_imports import import_group
from keydistill.cli.table_options import reading_options

if TYPE_CHECKING:
    from keydistill.distillation.signals import SignalsReport

# Positions that the table of a report shows.
_SHOWN_POSITIONS = (1, 2, 3, 4, 5, 10, 20, 50, 100)
_FILE = click.Path(path_type=Path)


@click.group()
def signals() -> None:
    """Check and import what training learns from: clicks, search relevance, judgments, items."""


signals.add_command(import_group)


@signals.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--items", multiple=True, type=_FILE, help="File of items (item_id, title).")
@click.option("--clicks", multiple=True, type=_FILE, help="File of clicks (item_id, keyphrase, impressions, clicks).")
@click.option(
    "--search-relevance", multiple=True, type=_FILE, help="File of the search engine's verdicts (score or passed)."
)
@click.option("--judgments", multiple=True, type=_FILE, help="File of judgments: label, grade or probability.")
@click.option(
    "--relevant-grade",
    type=click.IntRange(0, 3),
    default=3,
    show_default=True,
    help="Lowest grade that is a yes, for judgments without a label.",
)
@click.option("--search-threshold", type=float, help="Lowest score that passes, where a row has no column `passed`.")
@click.option("--max-reject-share", type=float, help="Share of rejected rows above which a run fails.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    folder: Path | None,
    items: tuple[Path, ...],
    clicks: tuple[Path, ...],
    search_relevance: tuple[Path, ...],
    judgments: tuple[Path, ...],
    relevant_grade: int,
    search_threshold: float | None,
    max_reject_share: float | None,
    as_json: bool,
) -> None:
    """Read and validate signals as training would: those of FOLDER, or the files that the options name.

    An option can be given several times. Changes nothing. The exit status is 1 when training would refuse the files.
    """
    settings = settings_of(ctx, max_reject_share=max_reject_share)
    named = any((items, clicks, search_relevance, judgments))
    if (folder is None) == (not named):
        raise click.UsageError("Name a folder of signals, or files with --clicks, --judgments and the like.")
    from keydistill.distillation.signals import SignalFiles, check_signals
    from keydistill.tables import Conventions

    files = SignalFiles(items, clicks, search_relevance, judgments)
    with progress_bars(quiet=as_json) as bars:
        report = check_signals(
            files if folder is None else SignalFiles.of_folder(folder),
            max_reject_share=settings.max_reject_share,
            max_keyphrase_chars=settings.max_keyphrase_chars,
            relevant_grade=relevant_grade,
            search_threshold=search_threshold,
            conventions=Conventions.of(settings),
            progress=bars,
        )
        bars.close()
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if not report.passes:
        # Not `ctx.exit`: outside of its standalone mode click returns that status instead of raising it.
        sys.exit(1)


def _print_report(report: "SignalsReport") -> None:
    rows = []
    for name, table in report.tables.items():
        unknown = "" if table.unknown_item_share is None else f"{table.unknown_item_share:.1%}"
        keyphrases = "" if table.keyphrases is None else f"{table.keyphrases:,}"
        counts = (table.rows_read, table.rows_rejected, table.rows_merged, table.rows)
        rows.append((name, *(f"{count:,}" for count in counts), keyphrases, unknown))
    headers = ("table", "read", "rejected", "merged", "rows", "keyphrases", "unknown item")
    print_table(headers, rows, right=headers[1:])
    click.echo("")
    for name, table in report.tables.items():
        for fact, value in table.facts.items():
            text = f"{value:.1%}" if fact.endswith(("share", "rate")) else f"{value:,}"
            click.echo(f"{name}: {fact.replace('_', ' ')} {text}")
    _print_positions(report)
    for table in report.tables.values():
        print_rejects(table.rejects_by_reason, table.examples)
    print_hints(report.hints)
    click.echo("")
    _print_verdict(report)


def _print_positions(report: "SignalsReport") -> None:
    if report.curve is None:
        return
    rows = [
        (row["position"] or "unknown", f"{row['impressions']:,}", f"{row['clicks']:,}", f"{row['rate']:.2%}")
        for row in report.curve.rows()
        if row["position"] in (*_SHOWN_POSITIONS, None)
    ]
    click.echo("")
    headers = ("position", "impressions", "clicks", "click rate")
    print_table(headers, rows, right=headers)
    click.echo("")
    if report.eta is None:
        click.echo("eta: the log does not tell how attention falls with the position")
        return
    how = {
        "pair": "from pairs that were shown at several positions",
        "keyphrase": "from different items of a keyphrase; too large where the ranking is good",
    }[report.eta.level]
    click.echo(f"eta {report.eta.eta:.2f} ± {report.eta.standard_error:.2f}, {how} ({report.eta.clicks:,} clicks)")


def _print_verdict(report: "SignalsReport") -> None:
    bad = [name for name, one in report.tables.items() if one.reject_share > report.max_reject_share]
    empty = [name for name, one in report.tables.items() if not one.rows]
    if bad:
        click.echo(f"FAILS: more than {report.max_reject_share:.2%} of the rows are rejected in {', '.join(bad)}.")
    elif empty:
        click.echo(f"FAILS: no row is left in {', '.join(empty)}.")
    else:
        click.echo(f"OK: at most {report.max_reject_share:.2%} of the rows of a table may be rejected.")
