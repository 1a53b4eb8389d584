"""`keydistill judge`: judgments for files of pairs."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import settings_of
from keydistill.cli.judge_choice import judge_options
from keydistill.cli.output import (
    LoggedProgress,
    SilentProgress,
    TerminalProgress,
    check_output,
    print_json,
    print_table,
    progress_bars,
)
from keydistill.cli.table_options import writing_options
from keydistill.errors import JudgeError

if TYPE_CHECKING:
    from keydistill.distillation.pairs import Agreement, JudgingPlan, JudgingSummary
    from keydistill.encoders.judge import Usage
    from keydistill.settings import Settings


@click.command()
@click.argument("pairs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV, JSONL or Parquet file to write.")
@click.option("--items", type=click.Path(path_type=Path), help="File of item_id and title, for PAIRS without titles.")
@judge_options
@click.option("--concurrency", type=int, help="Most requests in flight at once.  [default: judge_concurrency]")
@click.option(
    "--requests-per-minute", type=float, help="Most requests per minute.  [default: judge_requests_per_minute]"
)
@click.option("--tokens-per-minute", type=float, help="Most tokens per minute.  [default: judge_tokens_per_minute]")
@click.option("--budget-pairs", type=click.IntRange(0), help="Most pairs to ask about in this run.")
@click.option("--budget-tokens", type=click.IntRange(0), help="Most tokens to use in this run.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="File that keeps judgments, so that no pair is asked about twice.  [default: judgments.sqlite in home]",
)
@click.option("--human", type=click.Path(path_type=Path), help="File of people's labels to compare the judge with.")
@click.option("--dry-run", is_flag=True, help="Count pairs, tokens and cost; ask nobody.")
@click.option(
    "--price-per-million-input", type=click.FloatRange(0), help="Price of a million input tokens, in any currency."
)
@click.option(
    "--price-per-million-output", type=click.FloatRange(0), help="Price of a million output tokens, in any currency."
)
@writing_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def judge(
    ctx: click.Context,
    /,
    pairs: tuple[Path, ...],
    out: Path | None,
    items: Path | None,
    concurrency: int | None,
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    budget_pairs: int | None,
    budget_tokens: int | None,
    cache: Path | None,
    human: Path | None,
    dry_run: bool,
    price_per_million_input: float | None,
    price_per_million_output: float | None,
    as_json: bool,
    **judge_choice: Any,
) -> None:
    """Ask a judge whether the keyphrase of each pair in PAIRS files is right for its item, as the seller would say.

    PAIRS are CSV, JSONL or Parquet with item_id, keyphrase, title, and optionally category_path, site. The judge is a
    chat endpoint, a local model or a table of labels. Judgments are kept as they come: after an interruption the same
    command goes on, and no pair is asked about twice. docs/judge.md says more.
    """
    if out is None and not dry_run:
        raise click.UsageError("give --out FILE, or --dry-run")
    if dry_run and human is not None:
        raise click.UsageError("--dry-run judges nothing that --human could be compared with; leave one out")
    check_output(ctx, "out")
    settings = settings_of(
        ctx,
        judge_concurrency=concurrency,
        judge_requests_per_minute=requests_per_minute,
        judge_tokens_per_minute=tokens_per_minute,
    )
    prices = price_per_million_input, price_per_million_output
    with ExitStack() as stack:
        bars = stack.enter_context(progress_bars(quiet=as_json))
        if dry_run:
            plan, name = _plan(settings, pairs, items, judge_choice, cache, bars)
            _print_plan(plan, name, prices, as_json=as_json, exact=judge_choice["local"] is not None)
            return
        from keydistill.distillation.pairs import agreement_of_file, judge_pairs, read_labels
        from keydistill.tables import Conventions, total_rows

        assert out is not None
        # Read before any judgment is paid for.
        people = None if human is None else read_labels(human)
        from keydistill.execution import judge_of

        chosen_judge = judge_of(settings, judge_choice)
        bars.start("judge", total_rows([*pairs]), "pairs")
        summary = judge_pairs(
            chosen_judge,
            pairs,
            out,
            cache=stack.enter_context(_cache_of(settings, judge_choice, cache)),
            items=items,
            budget_pairs=budget_pairs,
            budget_tokens=budget_tokens,
            conventions=Conventions.of(settings),
            progress=bars,
        )
        agreement = None if people is None else agreement_of_file(out, people)
        bars.close()
    nothing = not summary.labelled and summary.unlabelled > 0
    if as_json:
        spent = {**asdict(summary), "cost": _cost(summary.usage, prices), "out": out}
        print_json(spent if agreement is None else {**spent, "agreement": agreement.as_dict()})
    else:
        _print_summary(summary, out, _cost(summary.usage, prices))
        if agreement is not None and not nothing:
            _print_agreement(agreement)
    if nothing:
        raise JudgeError(
            f"none of {summary.unlabelled:,} pairs got a label; one of them: {summary.example}; the reasons of all "
            f"are in {summary.unlabelled_file}, and docs/judge.md says which answers count"
        )


def _cache_of(settings: "Settings", choice: Mapping[str, Any], cache: Path | None, *, dry_run: bool = False) -> Any:
    from keydistill.distillation.pairs import JudgmentCache

    path = cache or settings.home / "judgments.sqlite"
    # A table of labels costs nothing to look up again, and a dry run leaves nothing behind.
    in_memory = choice["labels"] is not None or (dry_run and not path.exists())
    return JudgmentCache(None if in_memory else path)


def _plan(
    settings: "Settings",
    pairs: tuple[Path, ...],
    items: Path | None,
    choice: Mapping[str, Any],
    cache: Path | None,
    bars: "TerminalProgress | SilentProgress | LoggedProgress",
) -> "tuple[JudgingPlan, str]":
    from keydistill.distillation.pairs import plan_judging
    from keydistill.execution import judge_of
    from keydistill.tables import total_rows

    judge = judge_of(settings, choice)
    bars.start("count", total_rows([*pairs]), "pairs")
    with _cache_of(settings, choice, cache, dry_run=True) as judgments:
        from keydistill.tables import Conventions

        plan = plan_judging(
            judge, pairs, cache=judgments, items=items, conventions=Conventions.of(settings), progress=bars
        )
    bars.close()
    return plan, f"{judge.name}, prompt {judge.prompt_version}"


def _cost(usage: "Usage", prices: tuple[float | None, float | None]) -> float | None:
    if prices == (None, None):
        return None
    return (usage.input_tokens * (prices[0] or 0) + usage.output_tokens * (prices[1] or 0)) / 1_000_000


def _print_plan(
    plan: "JudgingPlan", name: str, prices: tuple[float | None, float | None], *, as_json: bool, exact: bool
) -> None:
    cost = _cost(plan.usage, prices)
    how = "counted by the model's tokenizer" if exact else "estimated at 4 characters each"
    if as_json:
        print_json({**asdict(plan), "judge": name, "tokens": how, "cost": cost})
        return
    rows = [
        ("pairs", plan.pairs, f"{plan.rejected:,} further rows are no pairs"),
        ("new", plan.new, "different pairs to ask about"),
        ("cached", plan.cached, "different pairs that were judged before"),
        ("input tokens", plan.usage.input_tokens, how),
        ("output tokens", plan.usage.output_tokens, "if no answer is malformed"),
    ]
    click.echo(f"judge: {name}\n")
    print_table(("", "count", " "), [(name, f"{count:,}", note) for name, count, note in rows], right=("count",))
    if cost is not None:
        click.echo(f"\nCost: {cost:,.2f}")
    click.echo("\ndry run: nobody was asked")


def _print_summary(summary: "JudgingSummary", out: Path, cost: float | None) -> None:
    share = f" ({summary.yes / summary.labelled:.0%} yes)" if summary.labelled else ""
    click.echo(f"{summary.labelled:,} of {summary.pairs:,} pairs judged{share}, in {out}")
    tokens = f"{summary.usage.input_tokens:,} tokens in, {summary.usage.output_tokens:,} out"
    click.echo(
        f"{summary.judge}, prompt {summary.prompt_version}: asked about {summary.asked:,}, {tokens}"
        + ("" if cost is None else f", cost {cost:,.2f}")
    )
    for count, what in (
        (summary.malformed, "answers were neither yes nor no"),
        (summary.unlabelled, f"pairs have no label; see {summary.unlabelled_file}"),
        (summary.unjudged, f"pairs are beyond the budget; see {summary.unlabelled_file}"),
        (summary.rejected, f"rows were no pairs; see {summary.rejects_file}"),
    ):
        if count:
            click.echo(f"{count:,} {what}", err=True)


def _print_agreement(agreement: "Agreement") -> None:
    click.echo(f"\nagainst people, {agreement.pairs:,} pairs")
    kappa = "undefined" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    ece = "" if agreement.ece is None else f", calibration error {agreement.ece:.3f}"
    click.echo(f"accuracy {agreement.accuracy:.3f}, Cohen's kappa {kappa}{ece}\n")
    print_table(
        ("", "people yes", "people no"),
        [
            ("judge yes", f"{agreement.both_yes:,}", f"{agreement.judge_yes:,}"),
            ("judge no", f"{agreement.people_yes:,}", f"{agreement.both_no:,}"),
        ],
        right=("people yes", "people no"),
    )
    if agreement.calibration:
        click.echo()
        print_table(
            ("probability", "pairs", "mean", "people yes"),
            [
                (
                    f"{one.low:.1f} to {one.high:.1f}",
                    f"{one.pairs:,}",
                    f"{one.mean_probability:.3f}",
                    f"{one.share_yes:.3f}",
                )
                for one in agreement.calibration
            ],
            right=("pairs", "mean", "people yes"),
        )
