"""Transient failures, for which a run does not fail: its work is tried again later."""

from keydistill.errors import EngineUnavailableError, RedisUnavailableError

TRANSIENT: tuple[type[Exception], ...] = (EngineUnavailableError, RedisUnavailableError)
# Pauses double from the first to the longest; so the last try is about an hour after the first.
FIRST_PAUSE_SECONDS = 1
LONGEST_PAUSE_SECONDS = 60
MOST_RETRIES = 66


def pause_seconds(retries: int) -> int:
    """The seconds to wait before the next try.

    >>> [pause_seconds(retries) for retries in (0, 1, 5, 60)]
    [1, 2, 32, 60]
    """
    return int(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(retries, 10)))
