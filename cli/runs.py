"""`keydistill runs`: the records of finished, running and failed runs."""

from typing import TYPE_CHECKING

import click

from keydistill.cli.completed_values import run_ids
from keydistill.cli.context import engine_of, reading_settings_of
from keydistill.cli.follow import follow
from keydistill.cli.output import bytes_text, duration_text, print_json, print_table
from keydistill.errors import one_line

if TYPE_CHECKING:
    from keydistill.execution import Send
    from keydistill.runs import ReindexRun, Run, RunStore, SyncRun

_LOST = "lost from Redis"


@click.group()
def runs() -> None:
    """List, show, follow, pause, cancel and forget runs."""


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_runs(ctx: click.Context, as_json: bool) -> None:
    """List all runs, newest first."""
    from keydistill.runs import open_store

    store = open_store(reading_settings_of(ctx))
    listed = store.all()
    if as_json:
        print_json([run.as_dict() for run in listed])
        return
    if not listed:
        click.echo("no runs yet; start one with `keydistill reindex INVENTORY`")
        return
    print_table(
        ("run", "kind", "state", "done", "what", "by", "updated"),
        [
            (
                run.id,
                run.kind,
                _LOST if _is_lost(store, run) else run.state + (f", {run.paused}" if run.is_paused else ""),
                _done(run),
                _what(run),
                f"{run.started_by or '-'}, {run.executor}",
                run.updated_at,
            )
            for run in listed
        ],
        right=("done",),
    )


@runs.command("show")
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show_run(ctx: click.Context, run_id: str, as_json: bool) -> None:
    """Show everything that is known about RUN (an id, or its beginning)."""
    from keydistill.execution import waiting_reason
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx)
    store = open_store(settings)
    run = store.load(run_id)
    lost = _is_lost(store, run)
    if as_json:
        print_json({**run.as_dict(), **({"lost_from_redis": True} if lost else {})})
        return
    by = "Celery workers" if run.executor == "celery" else "one process"
    lines = {
        "run": f"{run.id}, a {run.kind}",
        "state": run.state + (f" (while {run.failed_in})" if run.failed_in else "") + (f", {_LOST}" if lost else ""),
        "error": run.error,
        "paused": f"{run.paused}; `keydistill runs resume {run.id}` lets it go on" if run.is_paused else None,
        "waits": waiting_reason(settings, run),
        "progress": _progress_text(run),
        "started by": f"{run.started_by or '-'}, carried out by {by}",
        "at work": "for this run" if store.holder(run.lease_name) == run.id else None,
        **_lines_of(run),
        "time": ", ".join(f"{step} {duration_text(took)}" for step, took in run.timings.items()),
        "attempts": ", ".join(f"{what} {count}" for what, count in run.attempts.items()),
        "created": run.created_at,
        "updated": run.updated_at,
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name:<12} {one_line(value)}")
    if not run.is_over and not run.is_paused and (lost or store.holder(run.lease_name) != run.id):
        with_workers = " --executor celery" if run.executor == "celery" else ""
        click.echo(f"{'go on with':<12} keydistill {run.kind} --resume {run.id}{with_workers}")


@runs.command("watch")
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.pass_context
def watch_run(ctx: click.Context, run_id: str) -> None:
    """Follow RUN until it is over; Ctrl-C stops only the watching. Exit status 1 where it failed or was cancelled."""
    from keydistill.runs import open_store

    store = open_store(reading_settings_of(ctx))
    run = follow(store, store.load(run_id))
    click.echo(f"run {run.id} is {run.state}" + (f": {run.error}" if run.error else ""))
    ctx.exit(1 if run.state in ("failed", "cancelled") else 0)


@runs.command("pause")
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.pass_context
def pause_run(ctx: click.Context, run_id: str, dry_run: bool) -> None:
    """Pause RUN, a reindex or sync: who works on it stops at the next part or step, and it keeps its place."""
    from keydistill.execution import pause_run

    run = pause_run(reading_settings_of(ctx), run_id, dry_run=dry_run)
    if dry_run:
        click.echo(f"run {run.id} is {run.state} and would be paused; dry run: nothing was changed")
        return
    click.echo(
        f"run {run.id} stops at its next part or step and keeps its place; `keydistill runs resume {run.id}` lets it "
        "go on"
    )


@runs.command("resume")
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.pass_context
def resume_run(ctx: click.Context, run_id: str, dry_run: bool) -> None:
    """Let RUN go on, which was paused. One that was interrupted or failed is taken up by its command's --resume."""
    from keydistill.execution import resume_run
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx)

    def workers() -> "Send":
        from keydistill.workers import sender

        return sender(settings)

    run = resume_run(settings, run_id, workers, dry_run=dry_run)
    if dry_run:
        click.echo(f"run {run.id} is {run.paused} and would go on; dry run: nothing was changed")
    elif run.executor == "local" and open_store(settings).holder(run.lease_name) != run.id:
        click.echo(f"run {run.id} is paused no longer; go on with `keydistill {run.kind} --resume {run.id}`")
    else:
        click.echo(f"run {run.id} goes on; follow it with `keydistill runs watch {run.id}`")


@runs.command("cancel")
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.pass_context
def cancel_run(ctx: click.Context, run_id: str, dry_run: bool) -> None:
    """Cancel RUN: the processes that work on it stop at the next part or step. What is live stays as it is."""
    from keydistill.runs import open_store

    store = open_store(reading_settings_of(ctx))
    run = store.load(run_id)
    if dry_run:
        run.moved("cancelled")
        click.echo(f"run {run.id} is {run.state} and would be cancelled; dry run: nothing was changed")
        return
    run = store.update(run.id, lambda now: now.moved("cancelled"))
    store.give_up(run.lease_name, run.id)
    click.echo(f"run {run.id} is cancelled; {_what(run)} was not touched")


@runs.command("prune")
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def prune_runs(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Forget runs that ended more than `run_retention_days` ago and that nothing needs, with their snapshots."""
    from keydistill.ingest.aliases import RunRetention
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx)
    with engine_of(settings) as engine:
        retention = RunRetention(settings, engine, open_store(settings))
        plan = retention.plan() if dry_run else retention.prune()
    if as_json:
        print_json({"dry_run": dry_run, "forget": [run.id for run in plan.forget], "kept": plan.keep})
        return
    verb = "would be forgotten" if dry_run else "forgotten"
    rows = [*((run.id, verb) for run in plan.forget), *((run_id, f"kept: {why}") for run_id, why in plan.keep.items())]
    if rows:
        print_table(("run", "what"), rows)
    if not settings.run_retention_days:
        click.echo("run_retention_days is 0: all runs are kept")
    click.echo("dry run: nothing was changed" if dry_run else f"{len(plan.forget)} forgotten")


def _is_lost(store: "RunStore", run: "Run") -> bool:
    return not run.is_over and store.is_lost(run.id)


def _progress_text(run: "Run") -> str | None:
    if run.progress is None:
        return None
    of = f"/{run.progress.total:,}" if run.progress.total else ""
    return f"{run.progress.step} {run.progress.done:,}{of} {run.progress.unit}"


def _done(run: "Run") -> str:
    from keydistill.runs import ReindexRun, RetrainRun

    if isinstance(run, ReindexRun):
        return f"{len(run.parts_done)}/{run.parts} parts"
    return f"{len(run.stages_done)} stages" if isinstance(run, RetrainRun) else "-"


def _what(run: "Run") -> str:
    from keydistill.runs import ReindexRun, SyncRun

    return f"alias {run.alias}" if isinstance(run, ReindexRun | SyncRun) else "registry"


def _lines_of(run: "Run") -> dict[str, str | None]:
    from keydistill.runs import ReindexRun, SyncRun

    if isinstance(run, ReindexRun):
        return _reindex_lines(run)
    return _sync_lines(run) if isinstance(run, SyncRun) else _retrain_lines(run)


def _reindex_lines(run: "ReindexRun") -> dict[str, str | None]:
    return {
        "files": ", ".join(run.files),
        "keyphrases": f"{run.rows:,} in {run.parts:,} parts, {len(run.parts_done):,} of them done",
        "redone": f"{run.parts_redone:,} parts" if run.parts_redone else None,
        "student": f"{run.student_version} from {run.student}",
        "collection": f"{run.collection}, {bytes_text(run.report.get('disk_bytes'))}",
        "alias": f"{run.alias}, which named {run.previous_target or 'nothing'}" + ("" if run.swap else "; no swap"),
        "verified": ", ".join(f"{what} {value}" for what, value in run.report.items() if what != "disk_bytes"),
        "gate": f"{run.gate['verdict']}; see keydistill gate {run.id}" if run.gate else None,
        "forced": run.forced,
    }


def _sync_lines(run: "SyncRun") -> dict[str, str | None]:
    return {
        "files": ", ".join(run.files),
        "keyphrases": f"{run.rows:,}",
        "alias": run.alias,
        "accepted": f"as number {run.journal}" if run.journal else None,
        "changes": "; ".join(
            f"{collection}: {', '.join(f'{value} {name}' for name, value in changes.items())}"
            for collection, changes in run.changes.items()
        ),
    }


def _retrain_lines(run: "Run") -> dict[str, str | None]:
    from keydistill.runs import retrain_of

    run = retrain_of(run)
    return {
        "signals": str(run.order["signals"]),
        "stages": ", ".join(run.stages_done) or "none is done",
        "student": run.student,
        "assistant": run.assistant,
        "report": run.report,
    }
