"""Turning orders into runs: what a person, a schedule or a service asks for is recorded and sent to the workers.

The command line and the tasks `keydistill.reindex`, `sync`, `retrain` and `prune` call the same functions; `send` takes
their messages to the workers.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, TypeVar

from keydistill.errors import InputError, SettingsError
from keydistill.execution.leases import RESERVED_SECONDS
from keydistill.execution.orders import Order, PruneOrder, ReindexOrder, SyncOrder
from keydistill.execution.pausing import check_may_begin
from keydistill.execution.queues import Send, message_of
from keydistill.execution.retrain import new_retrain
from keydistill.execution.retrain_order import RetrainOrder
from keydistill.ingest.aliases import PrunePlan, Pruning, RunRetention
from keydistill.ingest.steps import ReindexSteps, SyncSteps
from keydistill.runs import (
    ReindexRun,
    RetrainRun,
    Run,
    SharedRunStore,
    SyncRun,
    open_shared_store,
    open_store,
)
from keydistill.settings import Settings
from keydistill.storage import share_student, shared_storage
from keydistill.telemetry import carried, span
from keydistill.vectorstore import Engine

_R = TypeVar("_R", bound=Run)
# Kind of work to the order of it.
ORDERS: Mapping[str, type[Order]] = {order.kind: order for order in (ReindexOrder, SyncOrder, RetrainOrder, PruneOrder)}


def order_by_name(
    settings: Settings, kind: str, values: Mapping[str, Any], send: Send, *, started_by: str | None = None
) -> Run | None:
    """Order work whose kind is given by its name.

    Returns:
        The run; None for a prune, which is done at once.

    Raises:
        InputError: There is no such kind, or the order cannot be carried out, as in `order_reindex`.
    """
    if kind == "reindex":
        return order_reindex(settings, ReindexOrder.of(values), send, started_by=started_by)
    if kind == "sync":
        return order_sync(settings, SyncOrder.of(values), send, started_by=started_by)
    if kind == "retrain":
        return order_retrain(settings, RetrainOrder.of(values), send, started_by=started_by)
    if kind == "prune":
        prune(settings, PruneOrder.of(values), started_by=started_by)
        return None
    raise InputError(f"there is no task {kind!r}; expected reindex, sync, retrain or prune")


def order_reindex(settings: Settings, order: ReindexOrder, send: Send, *, started_by: str | None = None) -> ReindexRun:
    """Make a reindex that workers will carry out.

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
    store = open_shared_store(settings)
    with span("order reindex", kind="producer"):
        with _engine(settings) as engine:
            run = ReindexSteps(settings, engine, store).new_run(
                order.files, categories=order.categories, swap=order.swap, executor="celery", started_by=started_by
            )
        shared = shared_storage(settings)
        if shared is not None:
            share_student(shared, run.student, run.student_version)
        return _begun(store, run, send)


def order_sync(settings: Settings, order: SyncOrder, send: Send, *, started_by: str | None = None) -> SyncRun:
    """Make a sync that workers will carry out.

    Raises:
        InputError: A file cannot be read.
        SettingsError: The settings allow no workers.
        CollectionNotFoundError: Nothing is live.
        RunBusyError: Another sync of the alias is under way.
    """
    check_executor(settings)
    _check_files(order)
    settings = _with_options(settings, order, ("max_reject_share", "max_removed_share", "alias"))
    store = open_shared_store(settings)
    with span("order sync", kind="producer"):
        with _engine(settings) as engine:
            run = SyncSteps(settings, engine, store).new_run(
                order.files, categories=order.categories, executor="celery", started_by=started_by
            )
        return _begun(store, run, send)


def prune(settings: Settings, order: PruneOrder, *, started_by: str | None = None) -> PrunePlan:
    """Drop the collections of the alias that nothing needs.

    Raises:
        RunBusyError: A swap is under way.
    """
    settings = _with_options(settings, order, ("alias",))
    with _engine(settings) as engine:
        store = open_store(settings)
        plan = Pruning(settings, engine, store).prune(order.keep, order.why, by=started_by)
        RunRetention(settings, engine, store).prune()
        return plan


def order_retrain(settings: Settings, order: RetrainOrder, send: Send, *, started_by: str | None = None) -> RetrainRun:
    """Make a retrain that workers will carry out.

    Raises:
        InputError: A file cannot be read.
        SettingsError: The settings allow no workers.
        RunBusyError: Another retrain is under way.
    """
    store = open_shared_store(settings)
    with span("order retrain", kind="producer"):
        return _begun(store, new_retrain(settings, order, executor="celery", started_by=started_by), send)


def resume_by_workers(settings: Settings, run_id: str, send: Send) -> Run:
    """Give a run that was interrupted or failed, or that Redis has lost, to the workers.

    Raises:
        RunNotFoundError: There is no run of that id.
        RunStateError: The run is over or paused.
        RunBusyError: Another run has taken its place, or it is being worked on.
    """
    store = open_shared_store(settings)
    run = store.load(run_id)
    run.reopened()
    check_may_begin(store, run)
    with span(f"resume {run.kind}", parent=run.trace, kind="producer", run_id=run.id):
        store.restore(run.id)
        store.reserve(run.lease_name, run.id, RESERVED_SECONDS)
        run = store.update(run.id, lambda now: now.reopened().traced(carried()).changed(executor="celery"))
        message_of(run).send(send)
    return run


def check_executor(settings: Settings) -> None:
    """Check that the settings allow workers at all.

    Raises:
        SettingsError: The settings allow no workers.
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


def _begun(store: SharedRunStore, run: _R, send: Send) -> _R:
    check_may_begin(store, run)
    store.reserve(run.lease_name, run.id, RESERVED_SECONDS)
    store.add(run)
    message_of(run).send(send)
    return run


def _check_files(order: ReindexOrder | SyncOrder) -> None:
    for file in (*order.files, *([order.categories] if order.categories else [])):
        if not file.is_file():
            raise InputError(f"{file} is no file here; name one that the workers of queue control can read")


def _with_options(settings: Settings, order: Order, names: Sequence[str]) -> Settings:
    """The settings, overridden by the options of an order that are not None."""
    options = {name: value for name in names if (value := getattr(order, name)) is not None}
    return settings.model_copy(update=options)


def _engine(settings: Settings) -> AbstractContextManager[Engine]:
    from keydistill.vectorstore import open_engine

    return closing(open_engine(settings))
