"""The store of runs that the settings ask for."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from keydistill.errors import SettingsError
from keydistill.runs.shared_store import SharedRunStore
from keydistill.runs.store import RunStore
from keydistill.settings import Settings, redis_address

if TYPE_CHECKING:
    from keydistill.runs.redis_signs import Signs


def open_store(settings: Settings) -> RunStore:
    """Redis where `redis_url` is set, so that all who share it see the same runs; otherwise files in `home`.

    Raises:
        SettingsError: `redis_url` is set, and the client of Redis is not installed.
    """
    if settings.redis_url is not None:
        return open_shared_store(settings)
    from keydistill.runs.file_store import FileRunStore

    return FileRunStore(settings.home)


def open_shared_store(settings: Settings) -> SharedRunStore:
    """The store in Redis, which workers and schedules need.

    Raises:
        SettingsError: `redis_url` is not set, or the client of Redis is not installed.
    """
    if settings.redis_url is None:
        raise SettingsError(
            "redis_url is not set; workers and schedules share their runs in Redis: set "
            "KEYDISTILL_REDIS_URL=redis://HOST:6379/0"
        )
    try:
        from keydistill.runs.redis_store import RedisRunStore
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise SettingsError(
            "redis_url is set, but the client of Redis is not installed: pip install 'keydistill[workers]'"
        ) from None
    return RedisRunStore(redis_address(settings), settings.home, lease_seconds=settings.lease_seconds)


def open_signs(settings: Settings) -> "Signs":
    """Signs of life of workers, and troubles of runs; needs `redis_url` and the client of Redis."""
    from keydistill.runs.redis_connection import connect
    from keydistill.runs.redis_signs import Signs

    return Signs(connect(redis_address(settings), repeats=0))


def redis_version(settings: Settings) -> str:
    """The version of Redis that the server is compatible with; needs `redis_url` and the client of Redis.

    Raises:
        RedisUnavailableError: Redis cannot be reached.
    """
    from keydistill.runs.redis_connection import call, connect

    with closing(connect(redis_address(settings), repeats=0)) as redis:
        answer: Any = call(redis, lambda redis: redis.info("server"))
    return str(answer["redis_version"])


def redis_clock(settings: Settings) -> float:
    """Seconds since 1970 by the clock of Redis; needs `redis_url` and the client of Redis.

    Raises:
        RedisUnavailableError: Redis cannot be reached.
    """
    from keydistill.runs.redis_connection import call, connect

    with closing(connect(redis_address(settings), repeats=0)) as redis:
        answer: Any = call(redis, lambda redis: redis.time())
    seconds, microseconds = answer
    return float(seconds) + float(microseconds) / 1e6
