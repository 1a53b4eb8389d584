"""What a worker needs before it takes any work: asked when it starts, so that it fails at once and says why."""

import logging
from collections.abc import Set as AbstractSet
from contextlib import suppress

from redis.exceptions import RedisError

from keydistill.errors import SettingsError
from keydistill.runs import RedisRunStore, open_store
from keydistill.settings import Settings
from keydistill.storage import shared_storage

_log = logging.getLogger(__name__)


def check_start(settings: Settings, queues: AbstractSet[str]) -> None:
    """See that Redis, the vector engine, the registry and the shared storage are there, as far as the queues need them.

    Raises:
        KeydistillError: Something is not; the message says what, and what to do.
    """
    store = open_store(settings)
    assert isinstance(store, RedisRunStore)
    store.check_format()
    _check_eviction(store)
    if queues & {"control", "embed"}:
        _check_engine(settings)
    if "train" in queues:
        from keydistill.distillation.registry import Registry

        Registry.of(settings).versions("student")
    shared = shared_storage(settings)
    if shared is not None:
        shared.check()


def check_executor(settings: Settings) -> None:
    """See that the settings allow workers at all.

    Raises:
        SettingsError: They do not.
    """
    if settings.redis_url is None:
        raise SettingsError(
            "the executor is celery, but redis_url is not set; set KEYDISTILL_REDIS_URL, or use --executor local"
        )
    if settings.engine != "server":
        raise SettingsError(
            "the executor is celery, but the engine is embedded, which only one process can write; set "
            "KEYDISTILL_ENGINE=server and KEYDISTILL_QDRANT_URL, or use --executor local"
        )


def _check_engine(settings: Settings) -> None:
    from keydistill.vectorstore import open_engine

    check_executor(settings)
    engine = open_engine(settings)
    try:
        engine.collections()
    finally:
        engine.close()


def _check_eviction(store: RedisRunStore) -> None:
    # A Redis that is run by somebody else may not let us ask.
    with suppress(RedisError):
        policy = store.call(lambda redis: redis.config_get("maxmemory-policy")).get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            _log.warning(
                "Redis throws keys away when its memory is full (maxmemory-policy %s): runs and leases may be lost; "
                "set it to noeviction",
                policy,
            )
