"""The clock of Redis, by which leases expire."""

from contextlib import closing
from typing import Any

from keydistill.runs.redis_connection import call, connect
from keydistill.settings import Settings, redis_address


def redis_time(settings: Settings) -> float:
    """Seconds since 1970 by the clock of Redis.

    Raises:
        RedisUnavailableError: Redis cannot be reached.
    """
    with closing(connect(redis_address(settings), repeats=0)) as redis:
        answer: Any = call(redis, lambda redis: redis.time())
    seconds, microseconds = answer
    return float(seconds) + float(microseconds) / 1e6
