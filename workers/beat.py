"""The scheduler of the beat: RedBeat, changed so that it survives a Redis that was away or emptied.

RedBeat retries its own calls, but not those of its lock: one restart of Redis ends its process. And it takes a schedule
that never ran for overdue: a weekly retrain would start with the first beat.
"""

import logging
from types import SimpleNamespace
from typing import Any

from celery.schedules import crontab
from redbeat.schedulers import RedBeatScheduler, acquire_distributed_beat_lock
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import LockError
from redis.exceptions import TimeoutError as RedisTimeoutError

_log = logging.getLogger(__name__)
_PAUSE_SECONDS = 1.0


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """RedBeat's scheduler, which takes its lock again after an outage, and lets no new schedule count as overdue."""

    lock: Any = None

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send the tasks that are due; returns the seconds until the next tick."""
        try:
            if self.lock is None:
                # Redis was away at the start, or the lock was lost. This waits until no other beat has the lock.
                acquire_distributed_beat_lock(SimpleNamespace(scheduler=self))
                self.setup_schedule()
            return float(super().tick(*arguments, **options))
        except LockError:
            _log.warning("beat: the lock is lost; Redis was emptied, or another beat took over")
            self.lock = None
        except (RedisConnectionError, RedisTimeoutError) as error:
            _log.warning("beat: Redis cannot be reached (%s); trying again", type(error).__name__)
        return _PAUSE_SECONDS

    def update_from_dict(self, entries: Any) -> None:
        """Store entries; those with a time of day that never ran are due first at their next time from now on."""
        super().update_from_dict(entries)
        for name in entries:
            entry = self.Entry.from_key(self.Entry.generate_key(self.app, name), app=self.app)
            if isinstance(entry.schedule, crontab) and entry.last_run_at is None:
                entry.reschedule()
