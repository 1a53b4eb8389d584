"""Orders that Celery takes to the workers of some settings, as the command line gives them."""

from collections.abc import Mapping
from typing import Any

from keydistill import execution
from keydistill.execution import ReindexOrder, RetrainOrder, SyncOrder
from keydistill.runs import ReindexRun, RetrainRun, Run, SyncRun
from keydistill.settings import Settings
from keydistill.workers import sender


def order_reindex(settings: Settings, order: ReindexOrder) -> ReindexRun:
    return execution.order_reindex(settings, order, sender(settings))


def order_sync(settings: Settings, order: SyncOrder) -> SyncRun:
    return execution.order_sync(settings, order, sender(settings))


def order_retrain(settings: Settings, order: RetrainOrder) -> RetrainRun:
    return execution.order_retrain(settings, order, sender(settings))


def order_by_name(
    settings: Settings, kind: str, values: Mapping[str, Any], *, started_by: str | None = None
) -> Run | None:
    return execution.order_by_name(settings, kind, values, sender(settings), started_by=started_by)


def resume(settings: Settings, run_id: str) -> Run:
    return execution.resume_by_workers(settings, run_id, sender(settings))
