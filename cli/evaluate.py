"""`keydistill evaluate`: the measures of a student, and its comparison with another."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.completed_values import model_versions
from keydistill.cli.context import settings_of
from keydistill.cli.output import check_output, print_json, print_table, progress_bars, warn
from keydistill.cli.table_options import reading_options
from keydistill.errors import SettingsError

if TYPE_CHECKING:
    from keydistill.distillation.evaluation import Comparison, Evaluation, MatchCategory, RelevanceJudge
    from keydistill.settings import Settings

_FILE = click.Path(path_type=Path)
_CUTOFFS = "1,5,10,50"


@dataclass(frozen=True, slots=True)
class Measurement:
    """How to measure a student; each field is the command's option of that name."""

    items: tuple[Path, ...]
    inventory: tuple[Path, ...]
    labels: tuple[Path, ...]
    complete_labels: bool
    relevant_grade: int
    assistant: str | None
    relevant_probability: float
    search_relevance: tuple[Path, ...]
    search_threshold: float | None
    drop_unknown: bool
    exclude: tuple[Path, ...]
    clicks: tuple[Path, ...]
    limit_items: int | None
    cutoffs: tuple[int, ...]
    dimension: int | None
    dimensions: tuple[int, ...] | None
    match_category: "MatchCategory"
    seed: int


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers of an option's text."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers; write 10,50", param, ctx)


@click.command()
@click.argument("student", shell_complete=model_versions)
@click.option("--against", metavar="STUDENT", help="Another student, measured on the same items and compared.")
@click.option("--items", multiple=True, required=True, type=_FILE, help="File of items (item_id, title).")
@click.option("--inventory", multiple=True, required=True, type=_FILE, help="File of keyphrases.")
@click.option("--labels", multiple=True, type=_FILE, help="File of judgments: label, grade or probability.")
@click.option(
    "--complete-labels", is_flag=True, help="Count a pair without a label as irrelevant, as in a simulation's truth."
)
@click.option(
    "--relevant-grade", type=click.IntRange(0, 3), default=3, show_default=True, help="Least grade that means yes."
)
@click.option("--assistant", help="Assistant that stands in for the judge: a folder, promoted, or assistant/VERSION.")
@click.option(
    "--relevant-probability", type=float, default=0.5, show_default=True, help="Least probability that means yes."
)
@click.option(
    "--search-relevance", multiple=True, type=_FILE, help="File of the pairs that the search engine lets pass."
)
@click.option(
    "--search-threshold", type=float, help="Least score that passes the search filter, instead of the column `passed`."
)
@click.option(
    "--drop-unknown", is_flag=True, help="Drop pairs that the search relevance does not know, instead of judging them."
)
@click.option("--exclude", multiple=True, type=_FILE, help="File of pairs that other sources recommend already.")
@click.option(
    "--clicks", multiple=True, type=_FILE, help="File of clicks: what can be left out while 95% of them are kept."
)
@click.option("--limit-items", type=click.IntRange(1), help="Number of items to measure on, chosen by the seed.")
@click.option("--k", "cutoffs", type=Numbers(), default=_CUTOFFS, show_default=True, help="Lengths of the list.")
@click.option("--dimension", type=int, help="Dimension of the students' vectors; unset: all that they have.")
@click.option("--dimensions", type=Numbers(), help="Matryoshka dimensions to measure as well, such as 256,128,64.")
@click.option(
    "--match-category",
    type=click.Choice(["none", "leaf", "parent"]),
    default="none",
    show_default=True,
    help="Only keyphrases of the item's leaf category, or of its parent.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap and of every choice.")
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Folder for the page and the figures.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def evaluate(
    ctx: click.Context, /, student: str, against: str | None, report: Path | None, as_json: bool, **options: Any
) -> None:
    """Measure STUDENT (a folder, a name, promoted, or student/VERSION) by the paper's offline protocol.

    For each item: the nearest keyphrases of its site, less --exclude, less what --search-relevance rejects; the labels
    or the assistant judge the rest. Changes nothing but the folder of the report.
    """
    check_output(ctx, "report")
    measurement = Measurement(**options)
    settings = settings_of(ctx, dimension=measurement.dimension, assistant=measurement.assistant)
    _check(measurement, settings)
    from keydistill.distillation.evaluation import check_report_folder, compare, write_report

    if report is not None:
        check_report_folder(report)
    with progress_bars(quiet=as_json) as bars:
        bars.start("read", None, "")
        evaluations = _evaluations([student, *([against] if against else [])], settings, measurement, bars)
        evaluation, other = evaluations[0], evaluations[1] if against else None
        bars.start("report", None, "")
        if report is not None:
            comparison = write_report(report, evaluation, other)
        else:
            comparison = None if other is None else compare(other, evaluation)
        bars.close()
    if as_json:
        print_json(
            {
                **evaluation.summary(),
                "against": other and other.summary(),
                "comparison": comparison and comparison.as_dict(),
                "report": report and str(report / "index.html"),
            }
        )
        return
    _print(evaluation, other, comparison)
    if report is not None:
        click.echo(f"\nReport: {report / 'index.html'}")


def _check(measurement: Measurement, settings: "Settings") -> None:
    if not measurement.labels and not settings.assistant:
        raise SettingsError("nothing says what is relevant; give --labels, or --assistant to stand in for the judge")
    if measurement.complete_labels and not measurement.labels:
        raise SettingsError("--complete-labels speaks of labels; give --labels")
    for option, value in (
        ("search-threshold", measurement.search_threshold),
        ("drop-unknown", measurement.drop_unknown),
    ):
        if value and not measurement.search_relevance:
            raise SettingsError(f"--{option} speaks of the search filter; give --search-relevance")


def _evaluations(sources: list[str], settings: "Settings", measurement: Measurement, bars: Any) -> "list[Evaluation]":
    """The students' evaluations, one after the other, on the same tables and by the same judge."""
    from functools import partial

    from keydistill.distillation.evaluation import SearchFilter, evaluate, sample_items
    from keydistill.distillation.registry import resolve_assistant, resolve_model
    from keydistill.distillation.signals import load_clicks, load_items, load_judgments, load_search_relevance
    from keydistill.encoders import item_fields_of, student_of

    # Resolved before anything is read, so that a wrong name is reported at once.
    folders = [resolve_model(settings, "student", source) for source in sources]
    assistant = resolve_assistant(settings)
    from keydistill.ingest.snapshot import load_pairs, read_inventory, read_table

    fields = [name for folder in folders for name in item_fields_of(folder)]
    load_with_fields = partial(load_items, optional_fields=fields)
    items = sample_items(
        read_table("items", measurement.items, settings, load_with_fields, warn),
        measurement.limit_items,
        measurement.seed,
    )
    inventory = read_inventory(measurement.inventory, settings)
    most = settings.max_keyphrase_chars
    labels = search_filter = exclude = clicks = None
    if measurement.labels:
        load = partial(load_judgments, relevant_grade=measurement.relevant_grade, max_keyphrase_chars=most)
        labels = read_table("labels", measurement.labels, settings, load, warn)
    if measurement.search_relevance:
        load = partial(load_search_relevance, max_keyphrase_chars=most)
        relevance = read_table("search relevance", measurement.search_relevance, settings, load, warn)
        search_filter = SearchFilter(
            relevance, measurement.search_threshold, unknown_passes=not measurement.drop_unknown
        )
    if measurement.clicks:
        clicks = read_table(
            "clicks", measurement.clicks, settings, partial(load_clicks, max_keyphrase_chars=most), warn
        )
    if measurement.exclude:
        exclude = read_table("pairs to exclude", measurement.exclude, settings, load_pairs, warn)
    bars.start("load", None, "")
    judge = _judge(settings, measurement, labels, assistant)
    evaluations = []
    for folder in folders:
        bars.start("load", None, "")
        evaluations.append(
            evaluate(
                student_of(settings, folder, is_measured=True),
                items,
                inventory,
                judge=judge,
                k=measurement.cutoffs,
                search_filter=search_filter,
                exclude=exclude,
                labels=labels,
                clicks=clicks,
                dimensions=measurement.dimensions,
                match_category=measurement.match_category,
                seed=measurement.seed,
                progress=bars,
            )
        )
    return evaluations


def _judge(settings: "Settings", measurement: Measurement, labels: Any, assistant: str | None) -> "RelevanceJudge":
    from keydistill.distillation.evaluation import AssistantJudge, LabelJudge

    # An assistant that only the settings name does not overrule labels that the command names.
    if labels is not None and not measurement.assistant:
        return LabelJudge(labels, complete=measurement.complete_labels)
    from keydistill.encoders import Assistant

    assert assistant is not None  # `_check` saw to it
    return AssistantJudge(Assistant.load(assistant, threads=settings.threads), measurement.relevant_probability)


def _print(evaluation: "Evaluation", other: "Evaluation | None", comparison: "Comparison | None") -> None:
    from keydistill.distillation.evaluation import ABOUT, leading_measures

    counts = evaluation.counts
    click.echo(f"student   {evaluation.student}")
    if other is not None:
        click.echo(f"against   {other.student}")
    click.echo(f"items     {counts['items']:,}, inventory of {counts['keyphrases']:,} keyphrases")
    click.echo(f"judge     {evaluation.judge.sentence()}")
    if counts.get("unknown_to_search"):
        fate = "went to the judge" if evaluation.protocol["unknown_passes_search"] else "were dropped"
        click.echo(f"search    {counts['unknown_to_search']:,} pairs are unknown to the search filter; they {fate}")
    if counts.get("labelled_pairs"):
        of_items = f"{counts['labelled_items']:,} items and {counts['labelled_keyphrases']:,} keyphrases"
        drawn = evaluation.sampling.drawn
        click.echo(f"labels    {counts['labelled_pairs']:,} pairs of {of_items}; intervals are over {drawn}")
    if counts.get("shown_pairs"):
        sales = f", {counts['sales']:,} sales" if "sales" in counts else ""
        click.echo(f"clicks    {counts['clicks']:,} of {counts['shown_pairs']:,} pairs that were shown{sales}")
    if counts.get("labels_of_other_items"):
        click.echo(f"labels    {counts['labels_of_other_items']:,} speak of other items and were left out")
    click.echo("")
    rows = []
    order = leading_measures(evaluation.estimates, evaluation.headline)
    for name, estimate in sorted(
        evaluation.estimates.items(), key=lambda figure: order.index(figure[0].partition("@")[0])
    ):
        base, _, k = name.partition("@")
        if estimate.value is None or (k and int(k) != evaluation.headline):
            continue
        share = ABOUT[base].share
        support = evaluation.supports.get(name)
        rests_on = "" if support is None else f"{support.pairs:,} / {support.keyphrases:,}"
        row = [name, _figure(estimate.value, share), _range(estimate.low, estimate.high, share), rests_on]
        if comparison is not None:
            gap = comparison.differences.get(name)
            row += (
                ["", ""]
                if gap is None
                else [_figure(gap.difference, share, "+"), _range(gap.low, gap.high, share, "+")]
            )
        rows.append(row)
    headers = [
        "measure",
        "value",
        "95% interval",
        "pairs / keyphrases",
        *(["difference", "its 95% interval"] if comparison else []),
    ]
    print_table(headers, rows, right=("value", "difference"))


def _figure(value: float | None, share: bool, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.4f}" if share else f"{value:{sign}.2f}"


def _range(low: float | None, high: float | None, share: bool, sign: str = "") -> str:
    return "" if low is None or high is None else f"{_figure(low, share, sign)} to {_figure(high, share, sign)}"
