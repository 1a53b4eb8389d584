"""`keydistill gate`: the report of the gate, which says why it let a collection through, or refused it."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from keydistill.cli.completed_values import run_ids
from keydistill.cli.context import reading_settings_of
from keydistill.cli.output import duration_text, print_json, print_table
from keydistill.errors import RunStateError

if TYPE_CHECKING:
    from keydistill.ingest.gate import Row


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def gate(ctx: click.Context, run_id: str, as_json: bool) -> None:
    """Show what the gate found when it compared the collection of RUN with the live one.

    RUN is the id of a run, or its beginning. Where services asked it beside the live one (`shadow_share`), what they
    found is shown, too. The exit status is 1 where the gate refused, or a row of theirs failed.
    """
    from keydistill.ingest.gate import GateReport, shadow_rows
    from keydistill.runs import ReindexRun, open_store

    settings = reading_settings_of(ctx)
    run = open_store(settings).load(run_id)
    if not isinstance(run, ReindexRun):
        raise RunStateError(
            f"run {run.id} is a {run.kind}, and only a reindex goes through the gate; see `keydistill runs list`"
        )
    if not run.gate:
        raise RunStateError(
            f"run {run.id} is {run.state} and was not before the gate yet; see `keydistill runs show {run.id}`"
        )
    report = GateReport.from_dict(run.gate)
    shadow = shadow_rows(run.shadow, settings)
    shadow_failed = [row.name for row in shadow if row.verdict == "fail"]
    status = 1 if report.refused or shadow_failed else 0
    if as_json:
        shown = {"shadow": [asdict(row) for row in shadow]} if shadow else {}
        print_json({"run": run.id, "forced": run.forced, **run.gate, **shown})
        ctx.exit(status)
    lines = {
        "run": f"{run.id}: {run.state}",
        "gate": f"refused: {'; '.join(report.failed)}" if report.refused else "passed",
        "shadow": f"failed: {'; '.join(shadow_failed)}" if shadow_failed else None,
        "forced": run.forced,
        "collection": f"{report.collection}, student {report.student}",
        "live": report.against + (f", student {report.live_student}" if report.live_student else ""),
        "items": report.items,
        "took": duration_text(report.seconds),
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name:<12} {value}")
    click.echo("")
    print_table(
        ("check", "value", "live", "must be", "verdict", "note"),
        [
            (row.name, _number(row.value), _number(row.live), _must_be(row), row.verdict, row.note)
            for row in (*report.rows, *shadow)
        ],
        right=("value", "live"),
    )
    ctx.exit(status)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.3f}"


def _must_be(row: "Row") -> str:
    if not row.rule or row.threshold is None:
        return "-"
    within = f"within {_number(row.threshold)}"
    return within if row.rule == "+-" else f"{row.rule} {_number(row.threshold)}"
