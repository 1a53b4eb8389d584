"""What schedules did last, and which are paused, in Redis.

keydistill:schedule:NAME   what a schedule did last, JSON
keydistill:paused          names of the schedules that start nothing, a set
keydistill:paused:known    there once a schedule was paused or resumed: where it lacks, Redis was emptied

HOME/paused.json is this machine's copy of the names, and stands in for a Redis that was emptied.
"""

import json
import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redis import Redis

from keydistill.files import replace_json
from keydistill.runs.redis_connection import call
from keydistill.runs.redis_lease import PREFIX
from keydistill.runs.shared_store import Fired

_PAUSED = f"{PREFIX}paused"
_KNOWN = f"{PREFIX}paused:known"
_log = logging.getLogger(__name__)


class RedisScheduleMarks:
    """See `ScheduleMarks`."""

    def __init__(self, redis: Redis, home: Path) -> None:
        self._redis = redis
        self._copy = home / "paused.json"

    def pause(self, name: str) -> None:
        """See `ScheduleMarks.pause`."""
        self._record(self._paused() | {name})

    def resume(self, name: str) -> None:
        """See `ScheduleMarks.resume`."""
        self._record(self._paused() - {name}, name)

    def is_paused(self, name: str) -> bool:
        """See `ScheduleMarks.is_paused`."""
        return name in self._paused()

    def note(self, name: str, fired: Fired) -> None:
        """See `ScheduleMarks.note`."""
        call(self._redis, lambda redis: redis.set(_key(name), json.dumps(asdict(fired))))

    def _paused(self) -> set[str]:
        """Names of the schedules that are paused; this machine's copy says so where Redis was emptied."""

        def read(redis: Any) -> tuple[bool, set[str]]:
            with redis.pipeline() as pipe:
                pipe.exists(_KNOWN)
                pipe.smembers(_PAUSED)
                is_known, names = pipe.execute()
                return bool(is_known), set(names)

        is_known, names = call(self._redis, read)
        copied = self._copied()
        if not is_known:
            return names | copied
        if names != copied:
            self._write_copy(names)
        return names

    def _record(self, paused: set[str], resumed: str | None = None) -> None:
        def write(redis: Any) -> None:
            with redis.pipeline() as pipe:
                if paused:
                    pipe.sadd(_PAUSED, *paused)
                if resumed is not None:
                    pipe.srem(_PAUSED, resumed)
                pipe.set(_KNOWN, 1)
                pipe.execute()

        call(self._redis, write)
        self._paused()

    def _copied(self) -> set[str]:
        try:
            return {str(name) for name in json.loads(self._copy.read_bytes())}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            _log.warning("%s cannot be read (%s); it is written anew when a schedule is paused", self._copy, error)
            return set()

    def _write_copy(self, names: set[str]) -> None:
        # A full disk must not stop what Redis has recorded.
        with suppress(OSError):
            replace_json(self._copy, sorted(names))

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
