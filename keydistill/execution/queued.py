"""How workers carry out reindexes and syncs: by a message per step and per part, none of which must arrive.

The record says what is missing. The worker that finishes the last part moves the run on; where a message or a worker
was lost, the watchdog sends again what nobody holds a lease for.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar, cast

from keydistill.errors import LeaseLostError, RunBusyError, RunError, RunNotFoundError, RunStateError
from keydistill.execution.failures import record_failure
from keydistill.execution.leases import part_lease, reserve_seconds
from keydistill.execution.process import WorkerProcess
from keydistill.execution.queues import Message, Send, message_of, part_message, queue_of
from keydistill.execution.telemetry import at_work_on
from keydistill.execution.transient import TRANSIENT
from keydistill.runs import (
    Lease,
    ReindexRun,
    Run,
    SharedLease,
    SharedRunStore,
    SyncRun,
    part_name,
    reindex_of,
)

_log = logging.getLogger(__name__)
_R = TypeVar("_R", bound=Run)
_Worked = ReindexRun | SyncRun


def advance(process: WorkerProcess, run_id: str, queue: str, send: Send) -> str:
    """Do the steps of a run that belong to a queue.

    Args:
        process: Process of the worker.
        run_id: Id of the run.
        queue: Queue that the message came from.
        send: Function that sends a message to the workers.

    Returns:
        A sentence on the outcome, for the log.

    Raises:
        KeydistillError: One of `TRANSIENT`: try again later. Any other failure is in the record.
    """
    store = process.store
    try:
        run = _without_stages(store.load(run_id))
        lease = store.acquire(run.lease_name, run.id)
    except (RunBusyError, RunNotFoundError) as reason:
        return str(reason)
    try:
        with at_work_on(run, f"advance {run.kind}"), _failures_recorded(store, run.id, lease):
            run, messages = _advance(process, run, queue, lease)
    except (LeaseLostError, RunStateError) as reason:
        lease.release()
        return str(reason)
    except BaseException:
        _let_go(process, lease, run)
        raise
    # The lease is released before the messages are sent: a worker that is quicker must not find it held.
    _let_go(process, lease, run)
    for message in messages:
        message.send(send)
    return f"run {run.id} is {run.paused if run.is_paused else run.state}"


def _advance(process: WorkerProcess, run: _Worked, queue: str, lease: Lease) -> tuple[_Worked, list[Message]]:
    """Advance the run; returns it and the messages to send."""
    run = _without_stages(process.store.load(run.id))
    # Whoever resumes a paused run sends its message again; until then no work of it waits anywhere.
    while not run.is_at_rest and not run.is_paused:
        if queue_of(run) != queue:
            return run, [message_of(run)]
        if isinstance(run, ReindexRun) and run.state == "building" and run.missing_parts:
            return run, unheld_parts(process.store, run)
        run = _attempted(process, run, run.state, lambda now: now.attempted(now.state), lease)
        with _uncounted_if_transient(process.store, run.id, run.state):
            run = _stepped(process, run, queue, lease)
    return run, []


def _stepped(process: WorkerProcess, run: _Worked, queue: str, lease: Lease) -> _Worked:
    """The run after its next step."""
    if isinstance(run, SyncRun):
        return process.sync_steps(run).advance(run, lease)
    steps = process.steps(run) if queue == "control" else process.embedding
    return steps.advance(run, lease)


def _without_stages(run: Run) -> _Worked:
    """The run, which must be a reindex or a sync: a retrain goes by its stages."""
    return run if isinstance(run, SyncRun) else reindex_of(run)


def unheld_parts(store: SharedRunStore, run: ReindexRun) -> list[Message]:
    """Messages for the missing parts that no worker holds a lease on."""
    return [
        part_message(run, number) for number in run.missing_parts if store.owner(part_lease(run.id, number)) is None
    ]


def embed_part(process: WorkerProcess, run_id: str, number: int, send: Send) -> str:
    """Embed a part, unless it is done or another worker embeds it; arguments, result and errors are as in `advance`."""
    store = process.store
    try:
        run = reindex_of(store.load(run_id))
        if run.state != "building":
            return f"run {run.id} is {run.state}"
        if run.is_paused:
            return f"run {run.id} is {run.paused}"
        if number not in run.missing_parts:
            # The worker that finished the last part may have died before it sent the message.
            if not run.missing_parts:
                message_of(run).send(send)
            return f"part {number} of run {run.id} is done already"
        # The run is under way: nobody else may begin one for the same alias.
        store.reserve(run.lease_name, run.id, reserve_seconds(process.settings))
        lease = store.acquire(part_lease(run.id, number), run.id)
    except (RunBusyError, RunNotFoundError) as reason:
        return str(reason)
    try:
        with at_work_on(run, "embed part", number), _failures_recorded(store, run.id):
            run = _attempted(process, run, part_name(number), lambda now: now.with_part_begun(number), lease)
            with _uncounted_if_transient(store, run.id, part_name(number)):
                run = process.embedding.embed_parts(run, [number], lease)
    except (LeaseLostError, RunStateError) as reason:
        return str(reason)
    finally:
        lease.release()
    if not run.missing_parts:
        message_of(run).send(send)
    return f"part {number} of run {run.id} is done, {len(run.missing_parts)} are missing"


def _attempted(process: WorkerProcess, run: _R, what: str, begun: Callable[[_R], _R], lease: Lease) -> _R:
    """Count an attempt before it is made: work that kills its worker leaves nothing behind but this count.

    Raises:
        RunError: There were as many attempts as are allowed.
    """
    if run.attempts.get(what, 0) >= process.settings.part_attempts:
        raise RunError(
            f"{what} was taken up {run.attempts[what]} times and never ended: it kills its worker, or takes more than "
            f"part_seconds ({process.settings.part_seconds}); look at the workers' logs and memory, then "
            f"`keydistill {run.kind} --resume {run.id} --executor celery`"
        )

    def change(present: Run) -> Run:
        return begun(cast(_R, present))

    return cast(_R, process.store.update(run.id, change, lease))


@contextmanager
def _uncounted_if_transient(store: SharedRunStore, run_id: str, what: str) -> Iterator[None]:
    """Take an attempt off the count where a server was away: it counts where the worker died or the work failed."""
    try:
        yield
    except TRANSIENT:
        with suppress(RunError):
            store.update(run_id, lambda now: now.not_attempted(what))
        raise


@contextmanager
def _failures_recorded(store: SharedRunStore, run_id: str, lease: Lease | None = None) -> Iterator[None]:
    """Record every failure that is not transient, and raise `RunStateError` in its place."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (LeaseLostError, RunStateError, *TRANSIENT)):
            raise
        _log.exception("run %s failed", run_id)
        record_failure(store, run_id, error, lease)
        raise RunStateError(f"run {run_id} failed: {error}") from error


def _let_go(process: WorkerProcess, lease: SharedLease, run: Run) -> None:
    if run.is_at_rest:
        lease.release()
    else:
        lease.leave_to_run(reserve_seconds(process.settings))
