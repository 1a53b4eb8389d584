"""The checks of what a worker needs, done when it starts, so that it fails at once and says why."""

import logging
from collections.abc import Set as AbstractSet

from keydistill.execution import check_executor, check_schedules, schedule_problems
from keydistill.runs import SharedRunStore, open_shared_store, open_signs
from keydistill.settings import Settings
from keydistill.storage import shared_storage

_log = logging.getLogger(__name__)


def check_start(settings: Settings, queues: AbstractSet[str]) -> None:
    """Check that Redis, the vector engine, the registry and the shared storage are there, as the queues need them.

    Raises:
        KeydistillError: Something is missing; the message says what, and what to do.
    """
    store = open_shared_store(settings)
    store.check_format()
    _check_eviction(store)
    if "control" in queues:
        check_schedules(settings, with_paths=False)
        for name, problem in schedule_problems(settings).items():
            _log.error("schedule %s cannot start anything: %s", name, problem)
    if queues & {"control", "embed"}:
        _check_engine(settings)
    if "train" in queues:
        from keydistill.distillation.registry import Registry

        Registry.of(settings).versions("student")
    shared = shared_storage(settings)
    if shared is not None:
        shared.check()


def check_beat(settings: Settings) -> None:
    """Check that schedules can start what they shall, and that Redis lets the beat in.

    Raises:
        SettingsError: A schedule cannot start anything.
        RedisRefusedError: Redis refuses the user or password.
        RedisUnavailableError: Redis is away.
    """
    check_schedules(settings)
    signs = open_signs(settings)
    try:
        signs.all()
    finally:
        signs.close()


def _check_engine(settings: Settings) -> None:
    from keydistill.vectorstore import open_engine

    check_executor(settings)
    # The pool forks after this, and gRPC does not survive a fork of a process that has used it
    # (https://github.com/grpc/grpc/blob/master/doc/fork_support.md).
    protocol = "rest" if settings.qdrant_grpc == "auto" else settings.qdrant_grpc
    engine = open_engine(settings.model_copy(update={"qdrant_grpc": protocol}))
    try:
        engine.collections()
    finally:
        engine.close()


def _check_eviction(store: SharedRunStore) -> None:
    policy = store.eviction_policy()
    if policy not in (None, "noeviction"):
        _log.warning(
            "Redis throws keys away when its memory is full (maxmemory-policy %s): runs and leases may be lost; "
            "set it to noeviction",
            policy,
        )
