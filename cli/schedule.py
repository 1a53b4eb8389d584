"""`keydistill schedule`: runs that start by themselves."""

from datetime import datetime
from zoneinfo import ZoneInfo

import click

from keydistill.cli.completed_values import schedules
from keydistill.cli.context import settings_of
from keydistill.cli.output import print_json, print_table, warn


@click.group()
def schedule() -> None:
    """See and pause runs that start by themselves. The setting `schedules` defines them."""


@schedule.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_schedules(ctx: click.Context, as_json: bool) -> None:
    """List all schedules: when each fires next, and what it did last, both in the time zone of the schedules."""
    from keydistill.execution import schedule_problems
    from keydistill.runs import open_shared_store
    from keydistill.workers import next_times

    settings = settings_of(ctx)
    store = open_shared_store(settings)
    zone = ZoneInfo(settings.schedule_timezone)
    problems = schedule_problems(settings)
    rows = []
    for name, planned in settings.schedules.items():
        fired = store.schedules.last(name)
        (next_time,) = next_times(settings, name, 1)
        rows.append(
            {
                "schedule": name,
                "task": planned.task,
                "cron": planned.cron,
                "next": None if store.schedules.is_paused(name) else next_time.isoformat(timespec="minutes"),
                "paused": store.schedules.is_paused(name),
                "fired": fired and _in_zone(fired.at, zone),
                "run": fired and fired.run,
                "said": fired and fired.said,
                "problem": problems.get(name),
            }
        )
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no schedules; docs/schedules.md says how to make one")
    else:
        print_table(
            ("schedule", "task", "cron", f"next ({settings.schedule_timezone})", "fired", "run", "said"),
            [
                (
                    *(row["schedule"], row["task"], row["cron"], row["next"] or "paused"),
                    *(row["fired"] or "never", row["run"] or "-", row["said"] or "-"),
                )
                for row in rows
            ],
        )
        for name, problem in problems.items():
            warn(f"schedule {name} cannot start anything: {problem}")


@schedule.command("next")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="Number of times to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def next_fires(ctx: click.Context, count: int, as_json: bool) -> None:
    """Show when schedules fire next, the earliest first, including those that are paused."""
    from keydistill.workers import next_times

    settings = settings_of(ctx)
    times = sorted((at, name) for name in settings.schedules for at in next_times(settings, name, count))[:count]
    if as_json:
        print_json([{"at": at.isoformat(), "schedule": name} for at, name in times])
    else:
        print_table(("at", "schedule"), [(at.isoformat(timespec="minutes"), name) for at, name in times])


@schedule.command("pause")
@click.argument("name", shell_complete=schedules)
@click.pass_context
def pause_schedule(ctx: click.Context, name: str) -> None:
    """Keep the schedule NAME from starting runs until it is resumed. A run under way is not touched."""
    from keydistill.execution import pause_schedule
    from keydistill.runs import open_shared_store

    settings = settings_of(ctx)
    pause_schedule(settings, open_shared_store(settings), name)
    click.echo(f"schedule {name} is paused; `keydistill schedule resume {name}` lets it start runs again")


@schedule.command("resume")
@click.argument("name", shell_complete=schedules)
@click.pass_context
def resume_schedule(ctx: click.Context, name: str) -> None:
    """Let the schedule NAME start runs again, from its next time on."""
    from keydistill.execution import resume_schedule
    from keydistill.runs import open_shared_store
    from keydistill.workers import next_times

    settings = settings_of(ctx)
    resume_schedule(settings, open_shared_store(settings), name)
    (next_time,) = next_times(settings, name, 1)
    click.echo(f"schedule {name} fires next at {next_time.isoformat(timespec='minutes')}")


def _in_zone(stamp: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(stamp).astimezone(zone).isoformat(timespec="minutes")
