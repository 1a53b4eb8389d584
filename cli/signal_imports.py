"""`keydistill signals import`: what users already have, one command per format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import check_output, print_json, print_rejects, print_table, progress_bars
from keydistill.cli.table_options import reading_options

if TYPE_CHECKING:
    from keydistill.distillation.signals import ImportSummary, ImportTarget

_FILE = click.Path(path_type=Path)


@click.group("import")
def import_group() -> None:
    """Import data sets and logs into a signals folder."""


def _import_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all importers have, in the order of `--help`."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write."),
        click.option("--force", is_flag=True, help="Replace OUT if it is an earlier signals folder."),
        click.option("--dry-run", is_flag=True, help="Read everything and write nothing."),
        click.option(
            "--field",
            "fields",
            metavar="COLUMN",
            multiple=True,
            help="Further column of the items to keep, for --item-text; can be repeated.",
        ),
        click.option("--max-reject-share", type=float, help="Share of rejected rows above which nothing is written."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]
    for option in reversed([*options[:-1], reading_options, options[-1]]):
        command = option(command)
    return command


_site = click.option("--site", help="Site of all pairs and items.")


def _relevant_grade(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--relevant-grade",
        type=click.IntRange(0, 3),
        default=default,
        show_default=True,
        help="Lowest grade whose label is yes.",
    )


def _parsed_grades(context: click.Context, option: click.Parameter, text: str | None) -> dict[int, int] | None:
    if text is None:
        return None
    pairs = [pair.split("=") for pair in text.split(",")]
    try:
        grades = {int(grade): int(ours) for grade, ours in pairs}
    except ValueError:
        grades = {}
    if len(grades) < len(pairs) or not all(0 <= ours <= 3 for ours in grades.values()):
        raise click.BadParameter(f"{text!r} is no list of grades; write each grade once, as in 100=3,10=2,1=1,0=0")
    return grades


_grades = click.option(
    "--grades",
    metavar="GRADE=0..3,...",
    callback=_parsed_grades,
    help="Grades of the files on the scale from 0 to 3, such as 100=3,10=2; others stay as they are.",
)


def _first_positions(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """The first position of each application; that of all others is under the empty name."""
    positions: dict[str, int] = {}
    for value in values:
        application, equals, position = value.rpartition("=")
        if position not in ("0", "1") or (equals and not application):
            raise click.BadParameter(f"{value!r} is neither 0 nor 1; write 0, or shop=0 for the application shop alone")
        positions[application] = int(position)
    return positions


@import_group.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_FILE)
@click.option("--items", multiple=True, type=_FILE, help="File of items; otherwise titles come from the events.")
@click.option(
    "--click-action",
    multiple=True,
    help="Action that counts as a click; can be repeated.  [default: click, click_through]",
)
@click.option(
    "--impression-action",
    multiple=True,
    help="Action that says what was shown; can be repeated.  [default: impression]",
)
@click.option(
    "--sale-action", multiple=True, help="Action that counts as a sale; can be repeated.  [default: purchase]"
)
@click.option(
    "--first-position",
    metavar="[APPLICATION=]0|1",
    multiple=True,
    callback=_first_positions,
    help="Position that the log, or an application in it, gives the first result; can be repeated.  [default: 1]",
)
@_site
@_import_options
def ubi(
    sources: tuple[Path, ...],
    items: tuple[Path, ...],
    click_action: tuple[str, ...],
    impression_action: tuple[str, ...],
    sale_action: tuple[str, ...],
    first_position: dict[str, int],
    site: str | None,
    **common: Any,
) -> None:
    """Import logs of User Behavior Insights: SOURCEs with rows of ubi_queries and ubi_events (CSV, JSONL, Parquet)."""
    from keydistill.distillation.signals.importers import UbiOptions, import_ubi

    options = UbiOptions(
        click_actions=click_action or UbiOptions().click_actions,
        impression_actions=impression_action or UbiOptions().impression_actions,
        sale_actions=sale_action or UbiOptions().sale_actions,
        first_position=first_position.get(""),
        first_positions={name: first for name, first in first_position.items() if name},
        site=site,
    )
    with _target(common) as (target, show):
        show(import_ubi(sources, target, items=items, options=options))


@import_group.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_FILE)
@click.option("--split", help="Split to import, such as train.  [default: all]")
@click.option("--locale", help="Locale to import, such as us.  [default: all]")
@_relevant_grade(3)
@_import_options
def esci(
    sources: tuple[Path, ...],
    split: str | None,
    locale: str | None,
    relevant_grade: int,
    **common: Any,
) -> None:
    """Import ESCI, Amazon's shopping queries: SOURCEs are Parquet files or folders of them."""
    from keydistill.distillation.signals.importers import import_esci

    with _target(common) as (target, show):
        show(import_esci(sources, target, split=split, locale=locale, relevant_grade=relevant_grade))


@import_group.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_relevant_grade(3)
@_site
@_import_options
def wands(source: Path, relevant_grade: int, site: str | None, **common: Any) -> None:
    """Import WANDS, Wayfair's judged queries: SOURCE is the folder of query.csv, product.csv and label.csv."""
    from keydistill.distillation.signals.importers import import_wands

    with _target(common) as (target, show):
        show(import_wands(source, target, relevant_grade=relevant_grade, site=site))


@import_group.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--split", help="Split to import, of the file qrels/SPLIT.tsv.  [default: all]")
@_grades
@_relevant_grade(1)
@_site
@_import_options
def beir(
    source: Path,
    split: str | None,
    grades: dict[int, int] | None,
    relevant_grade: int,
    site: str | None,
    **common: Any,
) -> None:
    """Import a BEIR data set: SOURCE is the folder of corpus.jsonl, queries.jsonl and qrels."""
    from keydistill.distillation.signals.importers import import_beir

    with _target(common) as (target, show):
        show(import_beir(source, target, split=split, grades=grades, relevant_grade=relevant_grade, site=site))


@import_group.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_FILE)
@click.option("--queries", multiple=True, required=True, type=_FILE, help="File of queries: id and text.")
@click.option("--corpus", multiple=True, required=True, type=_FILE, help="File of documents: id, and title or text.")
@_grades
@_relevant_grade(1)
@_site
@_import_options
def qrels(
    sources: tuple[Path, ...],
    queries: tuple[Path, ...],
    corpus: tuple[Path, ...],
    grades: dict[int, int] | None,
    relevant_grade: int,
    site: str | None,
    **common: Any,
) -> None:
    """Import TREC qrels: SOURCEs have query, iteration, document and grade."""
    from keydistill.distillation.signals.importers import import_qrels

    with _target(common) as (target, show):
        summary = import_qrels(
            sources, target, queries=queries, corpus=corpus, grades=grades, relevant_grade=relevant_grade, site=site
        )
        show(summary)


@contextmanager
def _target(common: dict[str, Any]) -> "Iterator[tuple[ImportTarget, Callable[[ImportSummary], None]]]":
    """Where an import goes, with a bar that shows how far it is; and what prints its summary."""
    from keydistill.distillation.signals import ImportTarget
    from keydistill.tables import Conventions

    ctx = click.get_current_context()
    check_output(ctx, "out")
    settings = settings_of(ctx, max_reject_share=common["max_reject_share"])
    with progress_bars(quiet=common["as_json"]) as bars:
        bars.start("import", None, "rows")

        def show(summary: "ImportSummary") -> None:
            bars.close()
            _print_summary(summary, common["as_json"])

        target = ImportTarget(
            out=common["out"],
            force=common["force"],
            dry_run=common["dry_run"],
            max_reject_share=settings.max_reject_share,
            max_keyphrase_chars=settings.max_keyphrase_chars,
            conventions=Conventions.of(settings),
            progress=bars,
            fields=tuple(dict.fromkeys(common["fields"])),
        )
        yield target, show


def _print_summary(summary: "ImportSummary", as_json: bool) -> None:
    if as_json:
        print_json({"out": None if summary.out is None else str(summary.out), **summary.as_dict()})
        return
    print_table(("table", "rows"), [(name, f"{rows:,}") for name, rows in summary.rows.items()], right=("rows",))
    click.echo("")
    click.echo(f"{summary.rows_read:,} rows read, {summary.rows_rejected:,} rejected")
    for what, rows in summary.ignored.items():
        click.echo(f"{rows:,} ignored: {what}")
    if summary.unknown_item_share:
        click.echo(f"{summary.unknown_item_share:.1%} of the pairs name an item without a title")
    print_rejects(summary.rejects_by_reason, summary.examples)
    click.echo("dry run: nothing was written" if summary.out is None else f"Wrote {summary.out}")
