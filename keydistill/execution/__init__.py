"""Carrying out runs, whichever process does it: locally from start to end, or message by message as workers do."""

from keydistill.execution.judge_choice import judge_of
from keydistill.execution.order import Order
from keydistill.execution.process import worker_process
from keydistill.execution.queued import QUEUE_OF, Send
from keydistill.execution.queued_retrain import queue_of
from keydistill.execution.reindex import Reindexer
from keydistill.execution.retrain import Retrainer, new_retrain, retrain_of
from keydistill.execution.retrain_order import RetrainOrder
from keydistill.execution.sources import shared_sources
from keydistill.execution.sync import Syncer
from keydistill.execution.transient import MOST_RETRIES, PASSING, pause_seconds

__all__ = [
    "MOST_RETRIES",
    "PASSING",
    "QUEUE_OF",
    "Order",
    "Reindexer",
    "RetrainOrder",
    "Retrainer",
    "Send",
    "Syncer",
    "judge_of",
    "new_retrain",
    "pause_seconds",
    "queue_of",
    "retrain_of",
    "shared_sources",
    "worker_process",
]
