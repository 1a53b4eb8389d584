"""How workers carry out reindexes and syncs: a message per step and per part, and nothing depends on any arriving.

The record says what is missing. Whoever finishes the last part moves the run on; where a message or a worker was lost,
the watchdog sends again what nobody holds a lease for.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar, cast

from keydistill.errors import LeaseLostError, RunBusyError, RunError, RunNotFoundError, RunStateError
from keydistill.execution.process import WorkerProcess
from keydistill.execution.transient import PASSING
from keydistill.runs import Lease, RedisLease, RedisRunStore, ReindexRun, Run, State, SyncRun, part_name, reindex_of

_log = logging.getLogger(__name__)
_R = TypeVar("_R", bound=Run)
_Worked = ReindexRun | SyncRun


class Send(Protocol):
    """Sends a message."""

    def __call__(self, task: str, *arguments: object, queue: str) -> None:
        """Put a task with its arguments into a queue."""


# Verification embeds again, and so does the gate, which takes the student.
QUEUE_OF: dict[State, str] = {
    "planned": "control",
    "snapshot": "control",
    "building": "control",
    "verifying": "embed",
    "gating": "embed",
    "ready": "control",
    "applying": "embed",
}


def reserve_seconds(process: WorkerProcess) -> float:
    """How long a run keeps its lease while no worker works on it: some turns of the watchdog."""
    return max(5 * process.settings.watchdog_seconds, 5 * process.settings.lease_seconds)


def part_lease(run_id: str, number: int) -> str:
    """Name of the lease on a part."""
    return f"{run_id} {part_name(number)}"


def advance(process: WorkerProcess, run_id: str, queue: str, send: Send) -> str:
    """Move a run on as far as this queue can.

    Args:
        process: Of the worker.
        run_id: Which run.
        queue: The queue that the message came from.
        send: `send(task, *arguments, queue=...)` sends a message.

    Returns:
        What came of it, for the log.

    Raises:
        KeydistillError: One of `PASSING`: try again later. Any other is in the record.
    """
    store = process.store
    try:
        run = _ours(store.load(run_id))
        lease = store.acquire(run.lease_name, run.id)
    except (RunBusyError, RunNotFoundError) as reason:
        return str(reason)
    try:
        with _recording_failure(store, run.id, lease):
            run, messages = _advance(process, run, queue, lease)
    except (LeaseLostError, RunStateError) as reason:
        lease.release()
        return str(reason)
    except BaseException:
        _let_go(process, lease, run)
        raise
    # The lease first: a worker that is quicker than we are must not find it held.
    _let_go(process, lease, run)
    for task, *arguments, to in messages:
        send(task, *arguments, queue=to)
    return f"run {run.id} is {run.state}"


def _advance(
    process: WorkerProcess, run: _Worked, queue: str, lease: RedisLease
) -> tuple[_Worked, list[tuple[str, ...]]]:
    """The run as far as it came, and messages (task, arguments, queue) to send."""
    run = _ours(process.store.load(run.id))
    while not run.is_over and run.state != "failed":
        if QUEUE_OF[run.state] != queue:
            return run, [("keydistill.advance", run.id, QUEUE_OF[run.state])]
        if isinstance(run, ReindexRun) and run.state == "building" and run.missing_parts:
            return run, unheld_parts(process.store, run)
        run = _attempted(process, run, run.state, lambda now: now.attempted(now.state), lease)
        with _only_if_it_is_not_passing(process.store, run.id, run.state):
            run = _stepped(process, run, queue, lease)
    return run, []


def _stepped(process: WorkerProcess, run: _Worked, queue: str, lease: RedisLease) -> _Worked:
    """One step further."""
    if isinstance(run, SyncRun):
        return process.sync_steps(run).advance(run, lease)
    steps = process.steps(run) if queue == "control" else process.embedding
    return steps.advance(run, lease)


def _ours(run: Run) -> _Worked:
    return run if isinstance(run, SyncRun) else reindex_of(run)


def unheld_parts(store: RedisRunStore, run: ReindexRun) -> list[tuple[str, ...]]:
    """Messages for the parts that are missing and that no worker is at."""
    return [
        ("keydistill.embed_part", run.id, cast(str, number), "embed")
        for number in run.missing_parts
        if store.owner(part_lease(run.id, number)) is None
    ]


def embed_part(process: WorkerProcess, run_id: str, number: int, send: Send) -> str:
    """Embed a part, unless it is done or somebody is at it; see `advance`."""
    store = process.store
    try:
        run = reindex_of(store.load(run_id))
        if run.state != "building":
            return f"run {run.id} is {run.state}"
        if number not in run.missing_parts:
            # Whoever finished the last part may have died before he said so.
            if not run.missing_parts:
                send("keydistill.advance", run.id, queue="control")
            return f"part {number} of run {run.id} is done already"
        # The run goes on: nobody else may begin one for the same alias.
        store.reserve(run.lease_name, run.id, reserve_seconds(process))
        lease = store.acquire(part_lease(run.id, number), run.id)
    except (RunBusyError, RunNotFoundError) as reason:
        return str(reason)
    try:
        with _recording_failure(store, run.id, None):
            run = _attempted(process, run, part_name(number), lambda now: now.with_part_begun(number), lease)
            with _only_if_it_is_not_passing(store, run.id, part_name(number)):
                run = process.embedding.embed_parts(run, [number], lease)
    except (LeaseLostError, RunStateError) as reason:
        return str(reason)
    finally:
        lease.release()
    if not run.missing_parts:
        send("keydistill.advance", run.id, queue="control")
    return f"part {number} of run {run.id} is done, {len(run.missing_parts)} are missing"


def _attempted(process: WorkerProcess, run: _R, what: str, begun: Callable[[_R], _R], lease: Lease) -> _R:
    """Count an attempt before it is made: what kills its worker leaves nothing behind but this count.

    Raises:
        RunError: There were as many as are allowed.
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
def _only_if_it_is_not_passing(store: RedisRunStore, run_id: str, what: str) -> Iterator[None]:
    """An attempt counts where the worker died or the work failed, not where a server was away."""
    try:
        yield
    except PASSING:
        with suppress(RunError):
            store.update(run_id, lambda now: now.not_attempted(what))
        raise


@contextmanager
def _recording_failure(store: RedisRunStore, run_id: str, lease: Lease | None) -> Iterator[None]:
    """What is for good goes into the record, and ends here."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (LeaseLostError, RunStateError, *PASSING)):
            raise
        _log.exception("run %s failed", run_id)
        reason = str(error)
        failed = store.update(run_id, lambda now: now.failed(reason), lease)
        store.give_up(failed.lease_name, run_id)
        raise RunStateError(f"run {run_id} failed: {error}") from error


def _let_go(process: WorkerProcess, lease: RedisLease, run: Run) -> None:
    if run.is_over or run.state == "failed":
        lease.release()
    else:
        lease.leave_to_run(reserve_seconds(process))
