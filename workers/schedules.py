"""Schedules: the entries of Celery's beat, and the times at which they fire.

Celery beat keeps time through RedBeat, whose lock lets only one of several beats fire
(https://redbeat.readthedocs.io/en/latest/config.html).
"""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from keydistill.settings import Settings, schedule_of

_WATCHDOG = "watchdog"


def beat_config(settings: Settings) -> dict[str, Any]:
    """Celery's and RedBeat's settings for the beat, but for the address of Redis, which `Scheduler` sets."""
    entries = {
        name: {
            "task": "keydistill.fire",
            "schedule": crontab.from_string(schedule.cron),
            "args": [name],
            "options": {"queue": "control"},
        }
        for name, schedule in settings.schedules.items()
    }
    watchdog = {
        "task": "keydistill.watchdog",
        "schedule": settings.watchdog_seconds,
        # The messages expire, so that they do not pile up where no worker takes them.
        "options": {"queue": "control", "expires": 2 * settings.watchdog_seconds},
    }
    loop_seconds = min(5.0, settings.watchdog_seconds)
    return {
        "timezone": settings.schedule_timezone,
        "enable_utc": True,
        "beat_scheduler": "keydistill.workers.beat:Scheduler",
        "beat_schedule": {**entries, _WATCHDOG: watchdog},
        "beat_max_loop_interval": loop_seconds,
        "redbeat_key_prefix": "keydistill:redbeat:",
        # How long after the death of a beat another one takes over. The lock is renewed once per loop; RedBeat's own
        # choice is five times the interval that its process was started with, too.
        "redbeat_lock_timeout": 5 * loop_seconds,
    }


def next_times(settings: Settings, name: str, count: int, after: datetime | None = None) -> list[datetime]:
    """The next times at which a schedule fires, in its time zone.

    Raises:
        SettingsError: There is no such schedule.
    """
    zone = ZoneInfo(settings.schedule_timezone)
    moment = (after or datetime.now(zone)).astimezone(zone)
    schedule = schedule_of(settings, name)
    times: list[datetime] = []
    for _ in range(count):
        plan = crontab.from_string(schedule.cron)
        # Of itself it takes the zone of Celery's present application, which in a command is not ours.
        plan.tz = zone
        plan.nowfun = lambda at=moment: at
        # In UTC: the estimate is of hours that pass, not of those that a clock shows where it is put forward.
        moment = (moment.astimezone(UTC) + plan.remaining_estimate(moment)).astimezone(zone)
        times.append(moment.replace(microsecond=0))
    return times


def missed_times(settings: Settings, name: str, last: str, until: datetime, most: int) -> int:
    """The times at which a schedule should have fired since it last did, and until another time; `most` at the most.

    Args:
        settings: Settings with the schedule.
        name: Name of the schedule.
        last: Time at which it last fired, as its record has it.
        until: Later times count not.
        most: Number from which on more make no difference.
    """
    return sum(at <= until for at in next_times(settings, name, most, datetime.fromisoformat(last)))
