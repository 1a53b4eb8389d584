"""`keydistill score`: the assistant's scores for files of pairs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import check_output, duration_text, print_json, progress_bars
from keydistill.cli.table_options import writing_options
from keydistill.errors import SettingsError

if TYPE_CHECKING:
    from keydistill.distillation.pairs import ScoringPlan
    from keydistill.encoders import Assistant


@click.command()
@click.argument("pairs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--assistant", "source", help="Assistant to score with: a folder, promoted, or assistant/VERSION.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV, JSONL or Parquet file to write."
)
@click.option("--items", type=click.Path(path_type=Path), help="File of items, where PAIRS have no titles.")
@click.option("--dry-run", is_flag=True, help="Count pairs and estimate the time; change nothing.")
@writing_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def score(
    ctx: click.Context,
    pairs: tuple[Path, ...],
    source: str | None,
    out: Path,
    items: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Score PAIRS (CSV, JSONL, Parquet: item_id, keyphrase, title): how likely each is relevant, from 0 to 1.

    Killed or interrupted, it keeps what is scored, and the same command goes on from there.
    """
    check_output(ctx, "out")
    from keydistill.distillation.pairs import score_pairs
    from keydistill.distillation.registry import resolve_assistant
    from keydistill.encoders import Assistant
    from keydistill.tables import Conventions, total_rows

    settings = settings_of(ctx, assistant=source)
    conventions = Conventions.of(settings)
    resolved = resolve_assistant(settings)
    if resolved is None:
        raise SettingsError("no assistant was named; give --assistant, or set KEYDISTILL_ASSISTANT")
    with progress_bars(quiet=as_json) as bars:
        bars.start("load", None, "")
        assistant = Assistant.load(resolved, threads=settings.threads)
        if dry_run:
            from keydistill.distillation.pairs import plan_scoring

            plan = plan_scoring(assistant, pairs, items=items, conventions=conventions)
            bars.close()
            print_json({**asdict(plan), "assistant": assistant.version}) if as_json else _print_plan(plan, assistant)
            return
        bars.start("score", total_rows(list(pairs)), "pairs")
        try:
            summary = score_pairs(assistant, pairs, out, items=items, conventions=conventions, progress=bars)
        except KeyboardInterrupt:
            bars.close()
            click.echo("interrupted; whole chunks are kept, and the same command goes on from there", err=True)
            ctx.exit(130)
        bars.close()
    if as_json:
        print_json({**asdict(summary), "assistant": assistant.version, "out": out})
        return
    click.echo(f"{summary.pairs:,} pairs in {out}, scored by {assistant.version}; mean score {summary.mean_score:.3f}")
    if summary.reused:
        click.echo(f"{summary.reused:,} of them had been scored before the interruption", err=True)
    if summary.rejected:
        click.echo(f"{summary.rejected:,} rows were no pairs; see {summary.rejects_file}", err=True)


def _print_plan(plan: "ScoringPlan", assistant: "Assistant") -> None:
    click.echo(f"pairs          {plan.pairs:,}, {plan.rejected:,} rejected")
    click.echo(f"assistant      {assistant.version}")
    click.echo(
        f"time           about {duration_text(plan.seconds)} at {plan.pairs_per_second:,.0f} pairs/s, "
        "measured on a sample just now"
    )
    click.echo("dry run: nothing was changed")
