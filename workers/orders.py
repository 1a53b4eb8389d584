"""Orders: what a person, a schedule or a service asks for, checked before there is a run.

The command line and the tasks `keydistill.reindex` and `keydistill.retrain` call the same functions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errors import InputError, SettingsError
from ingest import ReindexSteps
from runs import ReindexRun, RetrainRun, Run, open_store
from runs.redis_store import RedisRunStore
from settings import Settings
from workers.messages import sender
from workers.reindex_work import QUEUE_OF
from workers.retrain_order import RetrainOrder
from workers.retrain_run import new_retrain
from workers.retrain_work import queue_of
from workers.start_checks import check_executor

__all__ = ["ReindexOrder", "RetrainOrder", "order", "order_reindex", "order_retrain", "resume"]

_R = TypeVar("_R", bound=Run)
# Until a worker takes the run up; the watchdog keeps it after that.
_RESERVED_SECONDS = 300


class ReindexOrder(BaseModel):
    """What a reindex is asked to do; what is None is left to the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[Path, ...] = Field(min_length=1)
    categories: Path | None = None
    student: str | None = None
    dimension: int | None = Field(default=None, ge=1)
    max_reject_share: float | None = Field(default=None, ge=0, le=1)
    alias: str | None = Field(default=None, min_length=1)
    swap: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read an order.

        Raises:
            InputError: A value is malformed, missing, or has a name that there is not.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(f"reindex, {name!r}: {first['msg']}; it takes {', '.join(cls.model_fields)}") from None


def order(settings: Settings, kind: str, values: Mapping[str, Any], *, started_by: str | None = None) -> Run:
    """Order a run of a kind by name.

    Raises:
        InputError: There is no such kind, or see `order_reindex`.
    """
    if kind == "reindex":
        return order_reindex(settings, ReindexOrder.of(values), started_by=started_by)
    if kind == "retrain":
        return order_retrain(settings, RetrainOrder.of(values), started_by=started_by)
    raise InputError(f"there is no task {kind!r}; expected reindex or retrain")


def order_reindex(settings: Settings, order: ReindexOrder, *, started_by: str | None = None) -> ReindexRun:
    """Make a run that workers will carry out.

    Raises:
        InputError: A file cannot be read.
        SettingsError: The settings allow no workers.
        RunBusyError: Another run builds for the alias.
    """
    from distillation import resolve_student
    from vectorstore.factory import open_engine

    check_executor(settings)
    for file in (*order.files, *([order.categories] if order.categories else [])):
        if not file.is_file():
            raise InputError(f"{file} is no file here; name one that the workers of queue control can read")
    given = {name: getattr(order, name) for name in ("student", "dimension", "max_reject_share", "alias")}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    settings = settings.model_copy(update={"student": resolve_student(settings)})
    store = redis_store(settings)
    engine = open_engine(settings)
    try:
        run = ReindexSteps(settings, engine, store).new_run(
            order.files, categories=order.categories, swap=order.swap, executor="celery", started_by=started_by
        )
    finally:
        engine.close()
    if settings.shared is not None:
        from encoders import find_model
        from workers.shared_storage import SharedStorage

        SharedStorage(settings.shared, settings.home).put_folder(
            find_model(run.student), f"students/{run.student_version}"
        )
    return _begun(settings, store, run)


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
    if run.kind == "reindex":
        send("keydistill.advance", run.id, queue=QUEUE_OF[run.state])
    else:
        send("keydistill.retrain_stages", run.id, queue=queue_of(run))


def _begun(settings: Settings, store: RedisRunStore, run: _R) -> _R:
    store.reserve(run.lease_name, run.id, _RESERVED_SECONDS)
    store.add(run)
    send_first(settings, run)
    return run
