"""The Celery tasks. Their work is done by functions of other modules, which know nothing of Celery."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from celery import Task, current_task

from keydistill import execution
from keydistill.errors import KeydistillError, RedisUnavailableError
from keydistill.execution import MOST_RETRIES, TRANSIENT, pause_seconds, worker_process
from keydistill.settings import Settings
from keydistill.telemetry import span
from keydistill.workers.app import app
from keydistill.workers.messages import TRACEPARENT, sender_of

_log = logging.getLogger(__name__)
_O = TypeVar("_O", bound=execution.Order)


send = sender_of(app)


def _checked(settings: Settings, order: _O) -> _O:
    """An order that came by message, which anyone can send who reaches Redis."""
    order.check_message(settings)
    return order


def _asked() -> AbstractContextManager[object]:
    """The span of work that a message orders, as a child of the one that it was sent in."""
    request = current_task.request
    worker_process()  # which begins the traces of this process
    return span(current_task.name, parent=getattr(request, TRACEPARENT, None), kind="consumer", task_id=request.id)


def _queue(task: Task) -> str:
    return str((task.request.delivery_info or {}).get("routing_key", "control"))


def _again(task: Task, run_id: str, error: Exception) -> Exception:
    _log.warning("%s; trying again", error)
    with suppress(RedisUnavailableError):
        worker_process().signs.note_trouble(run_id, str(error))
    return task.retry(exc=error, countdown=pause_seconds(task.request.retries))  # type: ignore[no-any-return]


@app.task(name="keydistill.reindex")
def reindex(**order: Any) -> dict[str, str]:
    """Order a reindex, as `keydistill reindex --executor celery` does; returns the run's id."""
    settings = worker_process().settings
    with _asked():
        return {"run": execution.order_reindex(settings, _checked(settings, execution.ReindexOrder.of(order)), send).id}


@app.task(name="keydistill.retrain")
def retrain(**order: Any) -> dict[str, str]:
    """Order a retrain, as `keydistill retrain --executor celery` does; returns the run's id."""
    settings = worker_process().settings
    with _asked():
        return {"run": execution.order_retrain(settings, _checked(settings, execution.RetrainOrder.of(order)), send).id}


@app.task(name="keydistill.sync")
def sync(**order: Any) -> dict[str, str]:
    """Order a sync, as `keydistill sync --executor celery` does; returns the run's id."""
    settings = worker_process().settings
    with _asked():
        return {"run": execution.order_sync(settings, _checked(settings, execution.SyncOrder.of(order)), send).id}


@app.task(name="keydistill.prune")
def prune(**order: Any) -> dict[str, Any]:
    """Drop collections that nothing needs, as `keydistill collections prune` does; returns those dropped and kept."""
    plan = execution.prune(worker_process().settings, execution.PruneOrder.of(order))
    return {"dropped": list(plan.drop), "kept": plan.keep}


@app.task(name="keydistill.advance", bind=True, max_retries=MOST_RETRIES, ignore_result=True)
def advance(task: Task, run_id: str) -> None:
    """Do the steps of a reindex or sync that belong to the queue that this message came from."""
    try:
        _log.info(execution.advance(worker_process(), run_id, _queue(task), send))
    except TRANSIENT as error:
        raise _again(task, run_id, error) from error


@app.task(name="keydistill.embed_part", bind=True, max_retries=MOST_RETRIES, ignore_result=True)
def embed_part(task: Task, run_id: str, number: int) -> None:
    """Embed one part of a reindex."""
    try:
        _log.info(execution.embed_part(worker_process(), run_id, number, send))
    except TRANSIENT as error:
        raise _again(task, run_id, error) from error


# Its message is acknowledged early: it runs for hours, longer than any visibility timeout should be.
@app.task(name="keydistill.retrain_stages", bind=True, acks_late=False, ignore_result=True)
def retrain_stages(task: Task, run_id: str) -> None:
    """Do the stages of a retrain that belong to the queue that this message came from."""
    _log.info(execution.do_stages(worker_process(), run_id, _queue(task), send))


@app.task(name="keydistill.watchdog", ignore_result=True)
def watch() -> None:
    """Send work again that no worker holds a lease for, and forget runs of long ago."""
    process = worker_process()
    execution.watch(process, send)
    execution.forget_old_runs(process)


@app.task(name="keydistill.fire", ignore_result=True)
def fire(name: str) -> None:
    """Start the run of a schedule, unless the schedule is paused or its last run is under way."""
    process = worker_process()

    def start(task: str, kwargs: Mapping[str, Any], started_by: str) -> str | None:
        run = execution.order_by_name(process.settings, task, kwargs, send, started_by=started_by)
        return None if run is None else run.id

    try:
        with _asked():
            execution.fire_schedule(process.settings, process.store, name, start)
    except KeydistillError as error:
        _log.error("schedule %s: %s", name, error)
