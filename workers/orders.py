"""Orders: what a person, a schedule or a service asks for, checked before there is a run.

The command line and the tasks `keydistill.reindex`, `sync`, `retrain` and `prune` call the same functions.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from keydistill.errors import InputError, SettingsError
from keydistill.execution import QUEUE_OF, Order, RetrainOrder, new_retrain, queue_of
from keydistill.ingest.aliases import PrunePlan, Pruning
from keydistill.ingest.steps import ReindexSteps, SyncSteps
from keydistill.runs import RedisRunStore, ReindexRun, RetrainRun, Run, SyncRun, open_store
from keydistill.settings import Settings
from keydistill.storage import share_student, shared_storage
from keydistill.vectorstore import Engine
from keydistill.workers.messages import sender
from keydistill.workers.start_checks import check_executor

__all__ = [
    "PruneOrder",
    "ReindexOrder",
    "RetrainOrder",
    "SyncOrder",
    "order",
    "order_reindex",
    "order_retrain",
    "order_sync",
    "prune",
    "resume",
]

_R = TypeVar("_R", bound=Run)
# Until a worker takes the run up; the watchdog keeps it after that.
_RESERVED_SECONDS = 300


class ReindexOrder(Order):
    """The options of `keydistill reindex`."""

    kind: ClassVar[str] = "reindex"

    files: tuple[Path, ...] = Field(min_length=1)
    categories: Path | None = None
    student: str | None = None
    dimension: int | None = Field(default=None, ge=1)
    max_reject_share: float | None = Field(default=None, ge=0, le=1)
    alias: str | None = Field(default=None, min_length=1)
    swap: bool = True


class SyncOrder(Order):
    """The options of `keydistill sync`."""

    kind: ClassVar[str] = "sync"

    files: tuple[Path, ...] = Field(min_length=1)
    categories: Path | None = None
    max_reject_share: float | None = Field(default=None, ge=0, le=1)
    max_removed_share: float | None = Field(default=None, ge=0, le=1)
    alias: str | None = Field(default=None, min_length=1)


class PruneOrder(Order):
    """The options of `keydistill collections prune`."""

    kind: ClassVar[str] = "prune"

    keep: int = Field(default=1, ge=0)
    why: str | None = None
    alias: str | None = Field(default=None, min_length=1)


def order(settings: Settings, kind: str, values: Mapping[str, Any], *, started_by: str | None = None) -> Run | None:
    """Order work of a kind by name.

    Returns:
        The run; None of a prune, which is done at once.

    Raises:
        InputError: There is no such kind, or see `order_reindex`.
    """
    if kind == "reindex":
        return order_reindex(settings, ReindexOrder.of(values), started_by=started_by)
    if kind == "sync":
        return order_sync(settings, SyncOrder.of(values), started_by=started_by)
    if kind == "retrain":
        return order_retrain(settings, RetrainOrder.of(values), started_by=started_by)
    if kind == "prune":
        prune(settings, PruneOrder.of(values), started_by=started_by)
        return None
    raise InputError(f"there is no task {kind!r}; expected reindex, sync, retrain or prune")


def order_reindex(settings: Settings, order: ReindexOrder, *, started_by: str | None = None) -> ReindexRun:
    """Make a run that workers will carry out.

    Raises:
        InputError: A file cannot be read.
        SettingsError: The settings allow no workers.
        RunBusyError: Another run builds for the alias.
    """
    from keydistill.distillation.registry import resolve_student

    check_executor(settings)
    _check_files(order)
    settings = _with_options(settings, order, ("student", "dimension", "max_reject_share", "alias"))
    settings = settings.model_copy(update={"student": resolve_student(settings)})
    store = redis_store(settings)
    with _engine(settings) as engine:
        run = ReindexSteps(settings, engine, store).new_run(
            order.files, categories=order.categories, swap=order.swap, executor="celery", started_by=started_by
        )
    shared = shared_storage(settings)
    if shared is not None:
        share_student(shared, run.student, run.student_version)
    return _begun(settings, store, run)


def order_sync(settings: Settings, order: SyncOrder, *, started_by: str | None = None) -> SyncRun:
    """Make a sync that workers will carry out.

    Raises:
        InputError: A file cannot be read.
        SettingsError: The settings allow no workers.
        CollectionNotFoundError: Nothing is live.
        RunBusyError: Another sync of the alias is going.
    """
    check_executor(settings)
    _check_files(order)
    settings = _with_options(settings, order, ("max_reject_share", "max_removed_share", "alias"))
    store = redis_store(settings)
    with _engine(settings) as engine:
        run = SyncSteps(settings, engine, store).new_run(
            order.files, categories=order.categories, executor="celery", started_by=started_by
        )
    return _begun(settings, store, run)


def prune(settings: Settings, order: PruneOrder, *, started_by: str | None = None) -> PrunePlan:
    """Drop the collections of the alias that nothing needs.

    Raises:
        RunBusyError: A swap is under way.
    """
    settings = _with_options(settings, order, ("alias",))
    with _engine(settings) as engine:
        return Pruning(settings, engine, open_store(settings)).prune(order.keep, order.why, by=started_by)


def order_retrain(settings: Settings, order: RetrainOrder, *, started_by: str | None = None) -> RetrainRun:
    """Make a retrain that workers will carry out.

    Raises:
        InputError: A file cannot be read.
        SettingsError: The settings allow no workers.
        RunBusyError: Another retrain is going.
    """
    if settings.redis_url is None:
        raise SettingsError("the executor is celery, but redis_url is not set; set KEYDISTILL_REDIS_URL")
    run = new_retrain(settings, order, executor="celery", started_by=started_by)
    return _begun(settings, redis_store(settings), run)


def resume(settings: Settings, run_id: str) -> Run:
    """Give a run that was interrupted or failed, or that Redis has lost, to the workers.

    Raises:
        RunNotFoundError: There is none of that id.
        RunStateError: It is over.
        RunBusyError: Another run has taken its place, or it is being worked on.
    """
    store = redis_store(settings)
    run = store.load(run_id)
    run.reopened()
    store.restore(run.id)
    store.reserve(run.lease_name, run.id, _RESERVED_SECONDS)
    run = store.update(run.id, lambda now: now.reopened().changed(executor="celery"))
    send_first(settings, run)
    return run


def redis_store(settings: Settings) -> RedisRunStore:
    """The store that workers share."""
    store = open_store(settings)
    assert isinstance(store, RedisRunStore)
    return store


def send_first(settings: Settings, run: Run) -> None:
    """The message that makes a worker take the run up."""
    send = sender(settings)
    if isinstance(run, ReindexRun | SyncRun):
        send("keydistill.advance", run.id, queue=QUEUE_OF[run.state])
    else:
        send("keydistill.retrain_stages", run.id, queue=queue_of(run))


def _begun(settings: Settings, store: RedisRunStore, run: _R) -> _R:
    store.reserve(run.lease_name, run.id, _RESERVED_SECONDS)
    store.add(run)
    send_first(settings, run)
    return run


def _check_files(order: ReindexOrder | SyncOrder) -> None:
    for file in (*order.files, *([order.categories] if order.categories else [])):
        if not file.is_file():
            raise InputError(f"{file} is no file here; name one that the workers of queue control can read")


def _with_options(settings: Settings, order: Order, names: Sequence[str]) -> Settings:
    """The settings with those options of an order on top that were given."""
    given = {name: value for name in names if (value := getattr(order, name)) is not None}
    return settings.model_copy(update=given)


def _engine(settings: Settings) -> AbstractContextManager[Engine]:
    from keydistill.vectorstore import open_engine

    return closing(open_engine(settings))
