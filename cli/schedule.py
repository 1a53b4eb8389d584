"""`keydistill schedule`: runs that start by themselves."""

from typing import TYPE_CHECKING

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import print_json, print_table

if TYPE_CHECKING:
    from keydistill.runs import RedisRunStore
    from keydistill.settings import Settings


@click.group()
def schedule() -> None:
    """See and pause runs that start by themselves. The setting `schedules` defines them."""


@schedule.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_schedules(ctx: click.Context, as_json: bool) -> None:
    """List all schedules: when each fires next, and what it did last."""
    from keydistill.workers import schedules

    settings = settings_of(ctx)
    store = _store(settings)
    rows = []
    for name, planned in settings.schedules.items():
        fired = schedules.last_fired(store, name)
        (following,) = schedules.next_times(settings, name, 1)
        rows.append(
            {
                "schedule": name,
                "task": planned.task,
                "cron": planned.cron,
                "next": None if schedules.is_paused(store, name) else following.isoformat(timespec="minutes"),
                "paused": schedules.is_paused(store, name),
                "fired": fired and fired.at,
                "run": fired and fired.run,
                "said": fired and fired.said,
            }
        )
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no schedules; docs/schedules.md says how to make one")
    else:
        print_table(
            ("schedule", "task", "cron", "next", "fired", "run", "said"),
            [
                (
                    *(row["schedule"], row["task"], row["cron"], row["next"] or "paused"),
                    *(row["fired"] or "never", row["run"] or "-", row["said"] or "-"),
                )
                for row in rows
            ],
        )


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
@click.argument("name")
@click.pass_context
def pause_schedule(ctx: click.Context, name: str) -> None:
    """Keep the schedule NAME from starting runs until it is resumed. A run under way is not touched."""
    from keydistill.workers import schedules

    settings = settings_of(ctx)
    schedules.pause(settings, _store(settings), name)
    click.echo(f"schedule {name} is paused; `keydistill schedule resume {name}` lets it start runs again")


@schedule.command("resume")
@click.argument("name")
@click.pass_context
def resume_schedule(ctx: click.Context, name: str) -> None:
    """Let the schedule NAME start runs again, from its next time on."""
    from keydistill.workers import schedules

    settings = settings_of(ctx)
    schedules.resume(settings, _store(settings), name)
    (following,) = schedules.next_times(settings, name, 1)
    click.echo(f"schedule {name} fires next at {following.isoformat(timespec='minutes')}")


def _store(settings: "Settings") -> "RedisRunStore":
    from keydistill.errors import SettingsError
    from keydistill.runs import RedisRunStore, open_store

    store = open_store(settings)
    if not isinstance(store, RedisRunStore):
        raise SettingsError("schedules need workers and Redis; set KEYDISTILL_REDIS_URL=redis://HOST:6379/0")
    return store
