"""The store of runs that the settings ask for."""

from keydistill.errors import SettingsError
from keydistill.runs.shared_store import SharedRunStore
from keydistill.runs.store import RunStore
from keydistill.settings import Settings


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
    return RedisRunStore(settings.redis_url, settings.home, lease_seconds=settings.lease_seconds)
