"""Schedules: runs that start by themselves, and the record of each start.

Celery beat keeps time (`keydistill.workers`): it fires the task `keydistill.fire` with a schedule's name. What the
schedule starts, and whether it is paused, is looked up then. So a change of the settings needs a restart of the beat
only where the times change, and a pause survives it: RedBeat writes its own entries anew at every start.
"""

from collections.abc import Callable, Mapping
from typing import Any

from keydistill.errors import KeydistillError, RunBusyError, SettingsError
from keydistill.execution.ordering import ORDERS
from keydistill.runs import Fired, SharedRunStore, now
from keydistill.settings import Settings, schedule_of

Start = Callable[[str, Mapping[str, Any], str], str | None]


def pause_schedule(settings: Settings, store: SharedRunStore, name: str) -> None:
    """Let a schedule start nothing until it is resumed.

    Raises:
        SettingsError: There is no such schedule.
    """
    schedule_of(settings, name)
    store.schedules.pause(name)


def resume_schedule(settings: Settings, store: SharedRunStore, name: str) -> None:
    """Let a paused schedule start runs again, from its next time on.

    Raises:
        SettingsError: There is no such schedule.
    """
    schedule_of(settings, name)
    store.schedules.resume(name)


def fire_schedule(settings: Settings, store: SharedRunStore, name: str, start: Start) -> Fired:
    """Start the run of a schedule, once.

    Args:
        settings: Settings with the schedules.
        store: Store that records the outcome.
        name: Name of the schedule.
        start: `start(task, kwargs, started_by)` starts a run and returns its id, or None for work that is done at once.

    Returns:
        The outcome; where the last run is still under way, or the schedule is paused, no run was started.

    Raises:
        SettingsError: There is no such schedule.
        KeydistillError: The run could not be started; that is recorded too.
    """
    schedule = schedule_of(settings, name)
    before = store.schedules.last(name)
    run: str | None = None if before is None else before.run
    reason: str | None = None
    try:
        if store.schedules.is_paused(name):
            reason = "paused"
        else:
            run = start(schedule.task, schedule.kwargs, f"schedule {name}")
    except RunBusyError as error:
        reason = str(error)
    except Exception as error:
        reason = str(error)
        raise
    finally:
        fired = Fired(now(), run, reason)
        store.schedules.note(name, fired)
    return fired


def schedule_problems(settings: Settings, *, with_paths: bool = True) -> dict[str, str]:
    """What keeps schedules from starting anything, by their names: arguments that the order has not, missing paths.

    Args:
        settings: Settings with the schedules.
        with_paths: Look whether the files and folders are there; the workers of queue `control` must have them.
    """
    problems: dict[str, str] = {}
    for name, schedule in settings.schedules.items():
        try:
            order = ORDERS[schedule.task].of(schedule.kwargs)
        except KeydistillError as error:
            problems[name] = str(error)
            continue
        missing = [path for path in order.paths() if not path.expanduser().exists()]
        if with_paths and missing:
            problems[name] = f"{schedule.task}: there is no {missing[0]} here"
    return problems


def check_schedules(settings: Settings, *, with_paths: bool = True) -> None:
    """Check what all schedules would start, as `schedule_problems` does.

    Raises:
        SettingsError: A schedule cannot start anything.
    """
    for name, problem in schedule_problems(settings, with_paths=with_paths).items():
        raise SettingsError(f"schedule {name!r} cannot start anything: {problem}; correct it in the setting schedules")
