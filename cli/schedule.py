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
    """See and pause runs that start by themselves. They stand in the settings under `schedules`."""


@schedule.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_schedules(ctx: click.Context, as_json: bool) -> None:
    """All schedules: when they fire next, and what they did last."""
    from keydistill.workers import schedules

    settings = settings_of(ctx)
    store = _store(settings)
    found = []
    for name, planned in settings.schedules.items():
        fired = schedules.last_fired(store, name)
        (following,) = schedules.next_times(settings, name, 1)
        found.append(
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
        print_json(found)
    elif not found:
        click.echo("no schedules; docs/schedules.md says how to make one")
    else:
        print_table(
            ("schedule", "task", "cron", "next", "fired", "run", "said"),
            [
                (
                    *(row["schedule"], row["task"], row["cron"], row["next"] or "paused"),
                    *(row["fired"] or "never", row["run"] or "-", row["said"] or "-"),
                )
                for row in found
            ],
        )


@schedule.command("next")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="How many times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def next_fires(ctx: click.Context, count: int, as_json: bool) -> None:
    """When schedules fire next, the earliest first; also those that are paused."""
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
    """Let the schedule NAME start nothing until it is resumed. A run that goes on is not touched."""
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
