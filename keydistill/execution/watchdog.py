"""The watchdog: finds runs that nobody works on, and sends again what is missing. It runs on the beat."""

import logging

from keydistill.errors import RunBusyError, RunError
from keydistill.execution.process import WorkerProcess
from keydistill.execution.queued import QUEUE_OF, Send, reserve_seconds, unheld_parts
from keydistill.execution.queued_retrain import queue_of
from keydistill.runs import ReindexRun, RetrainRun, Run, SyncRun

_log = logging.getLogger(__name__)


def watch(process: WorkerProcess, send: Send) -> list[str]:
    """Look at every open run of the workers.

    A part or step is sent again when no worker holds its lease and its queue is empty: then its message was not waiting
    but lost, or its worker died. Sending it twice does no harm.

    Returns:
        What was sent, for the log.
    """
    sent: list[str] = []
    for run in process.store.all():
        if run.executor != "celery" or run.is_over or run.state == "failed" or process.store.is_lost(run.id):
            continue
        try:
            for task, *arguments, queue in _missing(process, run):
                send(task, *arguments, queue=queue)
                sent.append(f"{task} {' '.join(map(str, arguments))}")
        except RunBusyError as busy:
            # Nobody worked on it for so long that its lease ran out, and another run was begun.
            _fail(process, run, busy)
    if sent:
        _log.warning("sent again what nobody was at: %s", "; ".join(sent[:20]))
    return sent


def queue_length(process: WorkerProcess, queue: str) -> int:
    """Messages that wait for a worker."""
    return int(process.store.call(lambda redis: redis.llen(f"keydistill:celery:{queue}")))


def _missing(process: WorkerProcess, run: Run) -> list[tuple[str, ...]]:
    store = process.store
    if store.holder(run.lease_name) == run.id and store.owner(run.lease_name) is not None:
        return []
    store.reserve(run.lease_name, run.id, reserve_seconds(process))
    if isinstance(run, ReindexRun | SyncRun):
        if isinstance(run, ReindexRun) and run.state == "building" and run.missing_parts:
            return unheld_parts(store, run) if queue_length(process, "embed") == 0 else []
        task, queue = "keydistill.advance", QUEUE_OF[run.state]
    else:
        assert isinstance(run, RetrainRun)
        task, queue = "keydistill.retrain_stages", queue_of(run)
    return [(task, run.id, queue)] if queue_length(process, queue) == 0 else []


def _fail(process: WorkerProcess, run: Run, reason: RunError) -> None:
    process.store.update(run.id, lambda now: now if now.is_over else now.failed(f"no worker went on with it: {reason}"))
