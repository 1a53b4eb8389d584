"""`keydistill runs`: what was done, what is going on, what failed."""

import click

from cli.context import settings_of
from cli.output import bytes_text, duration_text, print_json, print_table


@click.group()
def runs() -> None:
    """List and show runs."""


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_runs(ctx: click.Context, as_json: bool) -> None:
    """All runs, newest first."""
    from runs import open_store

    found = open_store(settings_of(ctx)).all()
    if as_json:
        print_json([run.as_dict() for run in found])
        return
    if not found:
        click.echo("no runs yet; start one with `keydistill reindex INVENTORY`")
        return
    print_table(
        ("run", "state", "parts", "keyphrases", "alias", "student", "updated"),
        [
            (
                run.id,
                run.state,
                f"{len(run.parts_done)}/{run.parts}",
                f"{run.rows:,}",
                run.alias,
                run.student_version,
                run.updated_at,
            )
            for run in found
        ],
        right=("parts", "keyphrases"),
    )


@runs.command("show")
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show_run(ctx: click.Context, run_id: str, as_json: bool) -> None:
    """Everything that is known about RUN (an id, or its beginning)."""
    from runs import open_store

    run = open_store(settings_of(ctx)).load(run_id)
    if as_json:
        print_json(run.as_dict())
        return
    lines = {
        "run": run.id,
        "state": run.state + (f" (while {run.failed_in})" if run.failed_in else ""),
        "error": run.error,
        "files": ", ".join(run.files),
        "keyphrases": f"{run.rows:,} in {run.parts:,} parts, {len(run.parts_done):,} of them done",
        "student": f"{run.student_version} from {run.student}",
        "collection": f"{run.collection}, {bytes_text(run.report.get('disk_bytes'))}",
        "alias": f"{run.alias}, which named {run.previous_target or 'nothing'}" + ("" if run.swap else "; no swap"),
        "time": ", ".join(f"{step} {duration_text(took)}" for step, took in run.timings.items()),
        "verified": ", ".join(f"{what} {found}" for what, found in run.report.items() if what != "disk_bytes"),
        "created": run.created_at,
        "updated": run.updated_at,
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name:<12} {value}")
    if run.state in ("failed", "planned", "snapshot", "building", "verifying") or (run.state == "ready" and run.swap):
        click.echo(f"{'go on with':<12} keydistill reindex --resume {run.id}")
