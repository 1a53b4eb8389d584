"""The scheduler of the beat: RedBeat, changed so that it survives a Redis that was away or emptied.

RedBeat retries its own calls for ever, without a reason and whatever signal comes, but not those of its lock: one
restart of Redis ends its process. And it takes a schedule that never ran for overdue: a weekly retrain would start with
the first beat. Here no call is repeated: the next tick, a second later, does it again.
"""

import logging
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from celery.schedules import crontab
from celery.signals import beat_init
from redbeat.schedulers import RedBeatScheduler, acquire_distributed_beat_lock
from redis.exceptions import LockError, RedisError

from keydistill.settings import load_settings, redis_address
from keydistill.telemetry import end_traces, span
from keydistill.workers.presence import BeatPresence

_log = logging.getLogger(__name__)
_PAUSE_SECONDS = 1.0

# The lock is taken with the first tick: where Redis is away, Celery would print a traceback of this.
beat_init.disconnect(acquire_distributed_beat_lock)


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """RedBeat's scheduler, which takes its lock again after an outage, and lets no new schedule count as overdue."""

    lock: Any = None
    _waits = False

    def __init__(self, app: Any, **options: Any) -> None:
        """Give RedBeat the address of Redis; not before, because `celery report` prints RedBeat's settings unmasked."""
        address = redis_address(load_settings())
        app.conf.update(
            redbeat_redis_url=address.url,
            redbeat_redis_use_ssl=address.tls or None,
            redbeat_redis_options={"socket_timeout": 10, "socket_connect_timeout": 5},
        )
        self._presence = BeatPresence()
        super().__init__(app, **options)

    def setup_schedule(self) -> None:
        """Nothing at the start: the first tick stores the schedules, once it has the lock."""

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send the tasks that are due; returns the seconds until the next tick."""
        try:
            if self.lock is None:
                # This waits until no other beat has the lock.
                acquire_distributed_beat_lock(SimpleNamespace(scheduler=self))
                super().setup_schedule()
            seconds = float(super().tick(*arguments, **options))
            self._presence.show()
        except LockError:
            _log.warning("beat: the lock is lost; Redis was emptied, or another beat took over")
            self.lock = None
        except RedisError as error:
            if not self._waits:
                _log.warning("beat: Redis cannot be used (%s: %s); trying again", type(error).__name__, error)
            self._waits = True
        else:
            if self._waits:
                _log.warning("beat: Redis can be used again")
            self._waits = False
            return seconds
        return _PAUSE_SECONDS

    def apply_async(self, entry: Any, *arguments: Any, **options: Any) -> Any:
        """Send a task that is due; the trace of what a schedule starts begins here."""
        if entry.task != "keydistill.fire":
            return super().apply_async(entry, *arguments, **options)
        with span(f"schedule {entry.name}", kind="producer"):
            return super().apply_async(entry, *arguments, **options)

    def close(self) -> None:
        """Let go of the lock; where Redis is away, it runs out by itself."""
        if self.lock is not None:
            self._presence.take_back()
        with suppress(RedisError):
            super().close()
        end_traces()

    def update_from_dict(self, entries: Any) -> None:
        """Store entries; those with a time of day that never ran are due first at their next time from now on."""
        super().update_from_dict(entries)
        for name in entries:
            entry = self.Entry.from_key(self.Entry.generate_key(self.app, name), app=self.app)
            if isinstance(entry.schedule, crontab) and entry.last_run_at is None:
                entry.reschedule()
