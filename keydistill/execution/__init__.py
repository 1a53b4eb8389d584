"""Carrying out runs, whichever process does it: locally from start to end, or message by message as workers do."""

from keydistill.execution.health import (
    Finding,
    Severity,
    finding_of_sign,
    findings,
    signs_of,
    waiting_reason,
    worker_missing,
)
from keydistill.execution.judge_choice import judge_of
from keydistill.execution.ordering import (
    check_executor,
    order_by_name,
    order_reindex,
    order_retrain,
    order_sync,
    prune,
    resume_by_workers,
)
from keydistill.execution.orders import Order, PruneOrder, ReindexOrder, SyncOrder
from keydistill.execution.pausing import pause_run, resume_run
from keydistill.execution.process import WorkerProcess, worker_process
from keydistill.execution.queued import advance, embed_part
from keydistill.execution.queued_retrain import do_stages
from keydistill.execution.queues import STAGE_QUEUES, STATE_QUEUES, Send, message_of, queue_of
from keydistill.execution.reindex import Reindexer
from keydistill.execution.retrain import Retrainer, new_retrain
from keydistill.execution.retrain_order import OWN_JUDGMENTS, RetrainOrder
from keydistill.execution.schedules import (
    check_schedules,
    fire_schedule,
    pause_schedule,
    resume_schedule,
    schedule_problems,
)
from keydistill.execution.sources import shared_sources
from keydistill.execution.sync import Syncer
from keydistill.execution.transient import MOST_RETRIES, TRANSIENT, pause_seconds
from keydistill.execution.watchdog import forget_old_runs, watch

__all__ = [
    "MOST_RETRIES",
    "OWN_JUDGMENTS",
    "STAGE_QUEUES",
    "STATE_QUEUES",
    "TRANSIENT",
    "Finding",
    "Order",
    "PruneOrder",
    "ReindexOrder",
    "Reindexer",
    "RetrainOrder",
    "Retrainer",
    "Send",
    "Severity",
    "SyncOrder",
    "Syncer",
    "WorkerProcess",
    "advance",
    "check_executor",
    "check_schedules",
    "do_stages",
    "embed_part",
    "finding_of_sign",
    "findings",
    "fire_schedule",
    "forget_old_runs",
    "judge_of",
    "message_of",
    "new_retrain",
    "order_by_name",
    "order_reindex",
    "order_retrain",
    "order_sync",
    "pause_run",
    "pause_schedule",
    "pause_seconds",
    "prune",
    "queue_of",
    "resume_by_workers",
    "resume_run",
    "resume_schedule",
    "schedule_problems",
    "shared_sources",
    "signs_of",
    "waiting_reason",
    "watch",
    "worker_missing",
    "worker_process",
]
