"""Following a run by its record, wherever it is carried out."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from keydistill.cli.output import SilentProgress, print_json, progress_bars, warn
from keydistill.telemetry import log_context

if TYPE_CHECKING:
    from keydistill.runs import Run, RunStore
    from keydistill.settings import Settings

_R = TypeVar("_R", bound="Run")
_SECONDS_BETWEEN_LOOKS = 0.5
_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(("local", "celery")),
        help="Who does the work: this process, or Celery workers.  [default: executor]",
    ),
    click.option(
        "--wait/--no-wait", default=True, help="With --executor celery: follow the run to its end.  [default: wait]"
    ),
)


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say who does the work to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def follow(store: "RunStore", run: "_R", *, quiet: bool = False) -> "_R":
    """Show the progress of a run until nobody works on it any more: bars on a terminal, a line per change in a pipe.

    Returns:
        The run, which is over or has failed.

    Raises:
        RunNotFoundError: The run's record is gone.
    """
    with log_context(run_id=run.id), progress_bars(quiet=quiet) as bars:
        shown: tuple[Any, ...] = ()
        shown_count = 0
        while True:
            now = store.load(run.id)
            step, total, unit, count = _position(now)
            if (step, total) != shown:
                shown, shown_count = (step, total), 0
                bars.start(step, total, unit)
                if not quiet and isinstance(bars, SilentProgress):
                    click.echo(f"{now.updated_at}  {now.id}  {step}", err=True)
            bars.advance(count - shown_count)
            shown_count = count
            if now.is_at_rest:
                bars.close()
                return now  # type: ignore[return-value]
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _position(run: "Run") -> tuple[str, int | None, str, int]:
    """The present step of a run, its total, its unit, and how much of it is done."""
    from keydistill.runs import ReindexRun

    if run.is_paused:
        return str(run.paused), None, "", 0
    if isinstance(run, ReindexRun) and run.state == "building" and run.missing_parts:
        return "embed and upsert", run.parts, "parts", len(run.parts_done)
    if run.progress is not None:
        return run.progress.step, run.progress.total, run.progress.unit, run.progress.done
    return run.state, None, "", 0


def follow_order(ctx: click.Context, settings: "Settings", run: "_R", *, wait: bool, as_json: bool) -> "_R":
    """Follow a run that workers carry out. Ctrl-C leaves it to them, or cancels it, as the user answers.

    Without `wait` the command ends here: nothing is known of the run's end.
    """
    from keydistill.execution import worker_missing
    from keydistill.runs import open_store

    missing = worker_missing(settings, run)
    if missing is not None:
        warn(missing)
    if not wait:
        if as_json:
            print_json(run.as_dict())
        else:
            click.echo(f"run {run.id} is given to the workers; follow it with `keydistill runs watch {run.id}`")
        ctx.exit(0)
    click.echo(f"run {run.id} is given to the workers; Ctrl-C leaves it to them", err=True)
    store = open_store(settings)
    try:
        return follow(store, run, quiet=as_json)
    except KeyboardInterrupt:
        if sys.stdin.isatty() and click.confirm(f"\nCancel run {run.id}? Otherwise the workers go on", err=True):
            cancelled = store.update(run.id, lambda now: now.moved("cancelled"))
            store.give_up(run.lease_name, run.id)
            click.echo(f"run {run.id} is {cancelled.state}", err=True)
        else:
            click.echo(f"\nrun {run.id} goes on; follow it with `keydistill runs watch {run.id}`", err=True)
        ctx.exit(130)
