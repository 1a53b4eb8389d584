"""`keydistill tune`: search settings for each shape of filter, by measurement."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keydistill.cli.completed_values import collections
from keydistill.cli.context import engine_of, reading_settings_of, sources_of
from keydistill.cli.output import duration_text, print_json, print_table, progress_bars
from keydistill.errors import SettingsError

if TYPE_CHECKING:
    from keydistill.ingest.tuning import ShapeReport, TuningReport
    from keydistill.vectorstore import SearchParams


@click.command()
@click.option(
    "--collection", metavar="NAME", shell_complete=collections, help="Collection to tune.  [default: what is live]"
)
@click.option(
    "--items",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of items to measure with.  [default: gate_items, otherwise keyphrases of the inventory]",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.98,
    show_default=True,
    help="Recall@10 against exact search that every filter shape must reach.",
)
@click.option(
    "--queries", type=click.IntRange(50, 100_000), default=500, show_default=True, help="Most items to measure with."
)
@click.option("--dry-run", is_flag=True, help="Measure, and change nothing.")
@click.option("--forget", is_flag=True, help="Forget what was tuned, so that the settings decide again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tune(
    ctx: click.Context,
    collection: str | None,
    items: Path | None,
    recall: float,
    queries: int,
    dry_run: bool,
    forget: bool,
    as_json: bool,
) -> None:
    """Find the cheapest search settings that reach the recall under each filter shape, and keep them."""
    from keydistill.ingest.tuning import Tuner
    from keydistill.runs import open_store

    if forget and dry_run:
        raise SettingsError("--forget measures nothing that --dry-run could show; give one of them")
    settings = reading_settings_of(ctx, "collections")
    with engine_of(settings, left_in_files=False) as engine, progress_bars(quiet=as_json) as progress:
        tuner = Tuner(settings, engine, open_store(settings), sources=sources_of(settings), progress=progress)
        if forget:
            name = tuner.forget(collection)
            print_json({"collection": name, "tuned": False}) if as_json else click.echo(f"{name} is not tuned any more")
            return
        report = tuner.measure(collection, items=items, target=recall, queries=queries)
        written_to = None if dry_run else tuner.write(report)
        progress.close()
    if as_json:
        print_json({**report.as_dict(), "written_to": written_to})
        return
    _print(report)
    click.echo("dry run: nothing was changed" if written_to is None else f"written to the metadata of {written_to}")


def _print(report: "TuningReport") -> None:
    click.echo(f"collection  {report.collection}, student {report.student_version}")
    click.echo(f"items       {report.items}")
    click.echo(f"target      recall@10 of {report.target:g}")
    click.echo(f"took        {duration_text(report.seconds)}\n")
    print_table(
        (
            "filter shape",
            "passing",
            "settings",
            "recall@10",
            "p50 ms",
            "p99 ms",
            "before: recall@10",
            "p50 ms ",
            "note",
        ),
        [_row(shape, report.target) for shape in report.shapes],
        right=("passing", "recall@10", "p50 ms", "p99 ms", "before: recall@10"),
    )
    for shape, count in report.too_few.items():
        click.echo(f"not tuned, asked for by only {count} items: {shape}", err=True)


def _row(shape: "ShapeReport", target: float) -> tuple[str, ...]:
    chosen, before = shape.choice.chosen, shape.choice.before
    return (
        shape.shape,
        f"{shape.passing:,}",
        _settings(chosen.params),
        f"{chosen.recall:.4f}",
        f"{chosen.p50_ms:.2f}",
        f"{chosen.p99_ms:.2f}",
        f"{before.recall:.4f}",
        f"{before.p50_ms:.2f}",
        "" if shape.choice.reached else f"nothing else reached {target:g}",
    )


def _settings(params: "SearchParams") -> str:
    if params.exact:
        return "exact"
    return f"ef {params.ef}, oversampling {params.oversampling:g}{', acorn' if params.acorn else ''}"
