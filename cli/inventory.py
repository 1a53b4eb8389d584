"""`keydistill inventory check`: what a run would find wrong with inventory files, before there is a run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import cut, print_hints, print_json, print_rejects, print_table, progress_bars
from keydistill.cli.table_options import reading_options

if TYPE_CHECKING:
    from keydistill.ingest.inventory import InventoryReport


@click.group()
def inventory() -> None:
    """Check inventory files before they are used."""


@inventory.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--categories", type=click.Path(path_type=Path), help="File of the category tree (category_id, parent_id)."
)
@click.option("--max-reject-share", type=float, help="Share of rejected rows above which a run fails.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    files: tuple[Path, ...],
    categories: Path | None,
    max_reject_share: float | None,
    as_json: bool,
) -> None:
    """Read and validate inventory FILEs (CSV, TSV, JSONL, also with .gz, or Parquet) as a run would.

    Changes nothing. The exit status is 1 when a run would refuse the inventory.
    """
    settings = settings_of(ctx, max_reject_share=max_reject_share)
    from keydistill.ingest.inventory import check_inventory
    from keydistill.tables import Conventions

    with progress_bars(quiet=as_json) as bars:
        report = check_inventory(
            files, settings, categories=categories, conventions=Conventions.of(settings), progress=bars
        )
        bars.close()
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if not report.passes:
        # Not `ctx.exit`: outside of its standalone mode click returns that status instead of raising it.
        sys.exit(1)


def _print_report(report: "InventoryReport") -> None:
    counts = [
        ("rows read", report.rows_read, ""),
        ("rejected", report.rows_rejected, f"{report.reject_share:.2%} of the rows read"),
        ("merged", report.rows_merged, "into another row of the same site and keyphrase"),
        ("keyphrases", report.rows, ""),
        (
            "without category",
            report.without_category,
            f"{report.without_category_share:.2%} of the keyphrases; only queries without a category filter find them",
        ),
        ("longest", len(report.longest_keyphrase), f"characters: {cut(report.longest_keyphrase)}"),
    ]
    print_table(("", "count", " "), [(name, f"{count:,}", note) for name, count, note in counts], right=("count",))
    print_rejects(report.rejects_by_reason, report.examples)
    print_hints(report.hints)
    click.echo("")
    if report.passes:
        click.echo(f"OK: at most {report.max_reject_share:.2%} of the rows may be rejected.")
    elif not report.rows:
        click.echo("FAILS: no row is left. A run would stop before it touches anything live.")
    else:
        click.echo(
            f"FAILS: {report.reject_share:.2%} of the rows are rejected and max_reject_share allows "
            f"{report.max_reject_share:.2%}. A run would stop before it touches anything live."
        )
