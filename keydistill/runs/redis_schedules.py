"""What schedules did last, and which are paused, in Redis.

keydistill:schedule:NAME   what a schedule did last, JSON
keydistill:paused          names of the schedules that start nothing, a set
keydistill:paused:known    number of their format, once one was paused or resumed: where it lacks, Redis was emptied

HOME/paused.json is this machine's copy of the names, and stands in for a Redis that was emptied.
"""

import json
import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redis import Redis

from keydistill.errors import RunError
from keydistill.files import NewerFormatError, replace_json, stamped, without_stamp
from keydistill.runs.history_file import warn_once
from keydistill.runs.redis_connection import call
from keydistill.runs.redis_lease import PREFIX
from keydistill.runs.redis_records import check_mark
from keydistill.runs.shared_store import Fired

_PAUSED = f"{PREFIX}paused"
_KNOWN = f"{PREFIX}paused:known"
_FORMAT = 1
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
        try:
            self._stored(name)
        except NewerFormatError as error:
            warn_once(f"what schedule {name} did last {error}")
        else:
            text = json.dumps(stamped(_FORMAT, asdict(fired)))
            call(self._redis, lambda redis: redis.set(_key(name), text))

    def _paused(self) -> set[str]:
        """Names of the schedules that are paused; this machine's copy says so where Redis was emptied.

        Raises:
            RunError: A newer keydistill wrote them, and what it paused must not start.
        """

        def read(redis: Any) -> tuple[str | None, set[str]]:
            with redis.pipeline() as pipe:
                pipe.get(_KNOWN)
                pipe.smembers(_PAUSED)
                mark, names = pipe.execute()
                return mark, set(names)

        mark, names = call(self._redis, read)
        if mark is None:
            return names | self._copied()
        try:
            check_mark(mark, _FORMAT)
        except ValueError as error:
            raise RunError(f"the list of paused schedules in Redis {error}") from None
        with suppress(RunError):  # a newer copy is left alone
            if names != self._copied():
                self._write_copy(names)
        return names

    def _record(self, paused: set[str], resumed: str | None = None) -> None:
        mark = json.dumps(stamped(_FORMAT, {}))

        def write(redis: Any) -> None:
            with redis.pipeline() as pipe:
                if paused:
                    pipe.sadd(_PAUSED, *paused)
                if resumed is not None:
                    pipe.srem(_PAUSED, resumed)
                pipe.set(_KNOWN, mark)
                pipe.execute()

        call(self._redis, write)
        self._paused()

    def _copied(self) -> set[str]:
        try:
            values = json.loads(self._copy.read_bytes())
            # A list is of before there were numbers.
            names = values if isinstance(values, list) else without_stamp(values, _FORMAT)["names"]
            return {str(name) for name in names}
        except FileNotFoundError:
            return set()
        except NewerFormatError as error:
            raise RunError(f"{self._copy} {error}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("%s cannot be read (%s); it is written anew when a schedule is paused", self._copy, error)
            return set()

    def _write_copy(self, names: set[str]) -> None:
        # A full disk must not stop what Redis has recorded.
        with suppress(OSError):
            replace_json(self._copy, stamped(_FORMAT, {"names": sorted(names)}))

    def last(self, name: str) -> Fired | None:
        """See `ScheduleMarks.last`; what cannot be read is replaced when the schedule fires next."""
        try:
            return self._stored(name)
        except NewerFormatError as error:
            warn_once(f"what schedule {name} did last {error}")
            return None

    def _stored(self, name: str) -> Fired | None:
        text: Any = call(self._redis, lambda redis: redis.get(_key(name)))
        try:
            return None if text is None else Fired.parse(json.dumps(without_stamp(json.loads(text), _FORMAT)))
        except NewerFormatError:
            raise
        except (ValueError, AttributeError) as error:
            _log.warning("what schedule %s did last cannot be read (%s)", name, error)
            return None


def _key(name: str) -> str:
    return f"{PREFIX}schedule:{name}"
