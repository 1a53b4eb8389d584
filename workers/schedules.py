"""Schedules: which runs start by themselves, when, and what came of it.

Celery beat keeps time through RedBeat, whose lock lets only one of several beats fire
(https://redbeat.readthedocs.io/en/latest/config.html). A schedule fires the task `keydistill.fire` with its name; what
it starts, and whether it is paused, is looked up then. So a change of the settings needs a restart of the beat only
where the times change, and a pause survives it: RedBeat writes its own entries anew at every start.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from keydistill.errors import RunBusyError, SettingsError
from keydistill.runs import RedisRunStore, now
from keydistill.settings import Settings

_PAUSED = "keydistill:paused"
_WATCHDOG = "watchdog"

Start = Callable[[str, Mapping[str, Any], str], str | None]


@dataclass(frozen=True, slots=True)
class Fired:
    """What a schedule did last.

    Attributes:
        at: When it fired.
        run: The run that it started, then or before.
        said: Why it started none, or None.
    """

    at: str
    run: str | None
    said: str | None


def beat_config(settings: Settings) -> dict[str, Any]:
    """Celery's and RedBeat's settings for the beat; needs `redis_url`."""
    assert settings.redis_url is not None
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
        # Where no worker takes them they must not pile up.
        "options": {"queue": "control", "expires": 2 * settings.watchdog_seconds},
    }
    loop_seconds = min(5.0, settings.watchdog_seconds)
    return {
        "timezone": settings.schedule_timezone,
        "enable_utc": True,
        "beat_scheduler": "keydistill.workers.beat:Scheduler",
        "beat_schedule": {**entries, _WATCHDOG: watchdog},
        "beat_max_loop_interval": loop_seconds,
        "redbeat_redis_url": settings.redis_url.get_secret_value(),
        "redbeat_key_prefix": "keydistill:redbeat:",
        # How long after the death of a beat another one takes over. It is renewed once per loop; five times that is
        # what RedBeat takes by itself, of the interval that its process was started with.
        "redbeat_lock_timeout": 5 * loop_seconds,
        "redbeat_redis_options": {"retry_period": -1},
    }


def next_times(settings: Settings, name: str, count: int, after: datetime | None = None) -> list[datetime]:
    """When a schedule fires next, in its time zone.

    Raises:
        SettingsError: There is no such schedule.
    """
    zone = ZoneInfo(settings.schedule_timezone)
    moment = (after or datetime.now(zone)).astimezone(zone)
    schedule = _schedule(settings, name)
    times: list[datetime] = []
    for _ in range(count):
        plan = crontab.from_string(schedule.cron)
        plan.nowfun = lambda at=moment: at
        moment = moment + plan.remaining_estimate(moment)
        times.append(moment.replace(microsecond=0))
    return times


def pause(settings: Settings, store: RedisRunStore, name: str) -> None:
    """Let a schedule start nothing until it is resumed.

    Raises:
        SettingsError: There is no such schedule.
    """
    _schedule(settings, name)
    store.call(lambda redis: redis.sadd(_PAUSED, name))


def resume(settings: Settings, store: RedisRunStore, name: str) -> None:
    """Let a paused schedule start runs again, from its next time on.

    Raises:
        SettingsError: There is no such schedule.
    """
    _schedule(settings, name)
    store.call(lambda redis: redis.srem(_PAUSED, name))


def is_paused(store: RedisRunStore, name: str) -> bool:
    """Whether a schedule starts nothing."""
    return bool(store.call(lambda redis: redis.sismember(_PAUSED, name)))


def last_fired(store: RedisRunStore, name: str) -> Fired | None:
    """What a schedule did last."""
    found: Any = store.call(lambda redis: redis.get(f"keydistill:schedule:{name}"))
    return None if found is None else Fired(**json.loads(found))


def fire(settings: Settings, store: RedisRunStore, name: str, start: Start) -> Fired:
    """Do what a schedule says, once.

    Args:
        settings: With the schedules.
        store: Keeps what came of it.
        name: Of the schedule.
        start: `start(task, kwargs, started_by)` starts a run and returns its id; None of what is done at once.

    Returns:
        What came of it; where the last run still goes, or the schedule is paused, no run was started.

    Raises:
        SettingsError: There is no such schedule.
        KeydistillError: The run could not be started; that is recorded too.
    """
    schedule = _schedule(settings, name)
    before = last_fired(store, name)
    run: str | None = None if before is None else before.run
    said: str | None = None
    try:
        if is_paused(store, name):
            said = "paused"
        else:
            run = start(schedule.task, schedule.kwargs, f"schedule {name}")
    except RunBusyError as error:
        said = str(error)
    except Exception as error:
        said = str(error)
        raise
    finally:
        fired = Fired(now(), run, said)
        store.call(lambda redis: redis.set(f"keydistill:schedule:{name}", json.dumps(asdict(fired))))
    return fired


def _schedule(settings: Settings, name: str) -> Any:
    if name not in settings.schedules:
        there = ", ".join(settings.schedules) or "none"
        raise SettingsError(f"there is no schedule {name!r}; in the settings there are: {there}")
    return settings.schedules[name]
