"""What schedules did last, and which are paused, in Redis.

keydistill:schedule:NAME   what a schedule did last, JSON
keydistill:paused          names of the schedules that start nothing, a set
"""

import json
import logging
from dataclasses import asdict
from typing import Any

from redis import Redis

from keydistill.runs.redis_connection import call
from keydistill.runs.redis_lease import PREFIX
from keydistill.runs.shared_store import Fired

_PAUSED = f"{PREFIX}paused"
_log = logging.getLogger(__name__)


class RedisScheduleMarks:
    """See `ScheduleMarks`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def pause(self, name: str) -> None:
        """See `ScheduleMarks.pause`."""
        call(self._redis, lambda redis: redis.sadd(_PAUSED, name))

    def resume(self, name: str) -> None:
        """See `ScheduleMarks.resume`."""
        call(self._redis, lambda redis: redis.srem(_PAUSED, name))

    def is_paused(self, name: str) -> bool:
        """See `ScheduleMarks.is_paused`."""
        return bool(call(self._redis, lambda redis: redis.sismember(_PAUSED, name)))

    def note(self, name: str, fired: Fired) -> None:
        """See `ScheduleMarks.note`."""
        call(self._redis, lambda redis: redis.set(_key(name), json.dumps(asdict(fired))))

    def last(self, name: str) -> Fired | None:
        """See `ScheduleMarks.last`; what cannot be read is replaced when the schedule fires next."""
        text: Any = call(self._redis, lambda redis: redis.get(_key(name)))
        try:
            return None if text is None else Fired.parse(text)
        except ValueError as error:
            _log.warning("what schedule %s did last cannot be read (%s)", name, error)
            return None


def _key(name: str) -> str:
    return f"{PREFIX}schedule:{name}"
