"""The store of runs that the settings ask for."""

from keydistill.runs.store import RunStore
from keydistill.settings import Settings


def open_store(settings: Settings) -> RunStore:
    """Redis where `redis_url` is set, so that all who share it see the same runs; otherwise files in `home`."""
    if settings.redis_url is None:
        from keydistill.runs.file_store import FileRunStore

        return FileRunStore(settings.home)
    from keydistill.runs.redis_store import RedisRunStore

    return RedisRunStore(settings.redis_url, settings.home, lease_seconds=settings.lease_seconds)
