"""The watchdog: finds runs that nobody works on, and sends their messages again. The beat starts it."""

import logging
from contextlib import suppress

from keydistill.errors import KeydistillError, RunBusyError, RunStateError
from keydistill.execution.failures import record_failure
from keydistill.execution.leases import reserve_seconds
from keydistill.execution.process import WorkerProcess
from keydistill.execution.queued import unheld_parts
from keydistill.execution.queues import Message, Send, message_of
from keydistill.ingest.aliases import RunRetention
from keydistill.runs import ReindexRun, Run

_DAY_SECONDS = 86_400
_log = logging.getLogger(__name__)


def watch(process: WorkerProcess, send: Send) -> list[str]:
    """Send lost work of every open run of the workers again.

    A part or step is sent again when no worker holds its lease and its queue is empty: then its message was not waiting
    but lost, or its worker died. Sending it twice does no harm.

    Returns:
        The messages that were sent, for the log.
    """
    sent: list[str] = []
    for run in process.store.all():
        if run.executor != "celery" or run.is_at_rest or process.store.is_lost(run.id):
            continue
        try:
            for message in _missing(process, run):
                message.send(send)
                sent.append(str(message))
        except RunBusyError as busy:
            # Nobody worked on the run for so long that its lease ran out, and another run was begun.
            with suppress(RunStateError):  # the run ended a moment ago
                record_failure(process.store, run.id, f"no worker went on with it: {busy}")
    if sent:
        _log.warning("sent again what nobody was at: %s", "; ".join(sent[:20]))
    return sent


def forget_old_runs(process: WorkerProcess) -> None:
    """Once a day, forget the runs whose time is over; what hinders that is logged, and nothing else waits for it."""
    try:
        if process.settings.run_retention_days and process.store.is_first_in(_DAY_SECONDS, "retention"):
            plan = RunRetention(process.settings, process.engine, process.store).prune()
            if plan.forget:
                _log.info("forgot %d runs of long ago: %s", len(plan.forget), ", ".join(run.id for run in plan.forget))
    except KeydistillError as error:
        _log.warning("old runs were not forgotten: %s", error)


def _missing(process: WorkerProcess, run: Run) -> list[Message]:
    """Messages for the work of a run that no worker holds a lease on and no message waits for."""
    store = process.store
    if store.holder(run.lease_name) == run.id and store.owner(run.lease_name) is not None:
        return []
    store.reserve(run.lease_name, run.id, reserve_seconds(process.settings))
    if run.is_paused:
        return []
    if isinstance(run, ReindexRun) and run.state == "building" and run.missing_parts:
        return unheld_parts(store, run) if store.messages_waiting("embed") == 0 else []
    message = message_of(run)
    return [message] if store.messages_waiting(message.queue) == 0 else []
