"""Pausing a build or sync: the mark is in the run's record, and everybody who works on it looks there.

A paused run keeps its place: no other run of its lease begins, even where its lease ran out meanwhile because neither a
process nor the watchdog was there to hold it.
"""

from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import TypeVar, cast

from keydistill.errors import RedisUnavailableError, RunBusyError, RunStateError
from keydistill.execution.leases import RESERVED_SECONDS
from keydistill.execution.queues import Send, message_of
from keydistill.runs import Lease, Pause, RetrainRun, Run, RunStore, check_restored, open_shared_store, open_store
from keydistill.settings import Settings

_R = TypeVar("_R", bound=Run)
_SECONDS_BETWEEN_LOOKS = 1.0


def pause_run(settings: Settings, run_id: str, *, dry_run: bool = False) -> Run:
    """Pause a run: whoever works on it stops at its next part or step. With `dry_run` only see that it can be paused.

    Returns:
        The run as it is on record now.

    Raises:
        RunNotFoundError: There is no run of that id.
        RunStateError: It cannot be paused, or is paused already.
    """
    store = open_store(settings)
    run = store.load(run_id)
    _paused(run)
    if dry_run:
        return run
    store.restore(run.id)
    return store.update(run.id, _paused)


def resume_run(settings: Settings, run_id: str, send: Callable[[], Send], *, dry_run: bool = False) -> Run:
    """Let a paused run go on: a process that waits for it by itself, workers by a message.

    Args:
        settings: Settings in force.
        run_id: Id of the run, or the beginning of it.
        send: Maker of the function that sends messages to the workers, called where one is needed.
        dry_run: Whether only to see that it is paused.

    Returns:
        The run as it is on record now.

    Raises:
        RunNotFoundError: There is no run of that id.
        RunStateError: It is not paused.
        RunBusyError: Another run has taken its place.
    """
    store = open_store(settings)
    run = store.load(run_id)
    _resumed(run)
    if dry_run:
        return run
    store.restore(run.id)
    if run.executor != "celery":
        return store.update(run.id, _resumed)
    open_shared_store(settings).reserve(run.lease_name, run.id, RESERVED_SECONDS)
    run = store.update(run.id, _resumed)
    message_of(run).send(send())
    return run


def check_may_begin(store: RunStore, run: Run) -> None:
    """Raise where a run is paused, or would take the place of one that is, or a restore did not end.

    Raises:
        RunStateError: The run is paused itself, or its home is half restored.
        RunBusyError: Another one of the same lease is.
    """
    # The store's folder of a run is HOME/runs/ID.
    check_restored(store.folder(run.id).parents[1])
    if run.is_paused:
        raise RunStateError(f"run {run.id} is {run.paused}; `keydistill runs resume {run.id}` lets it go on")
    for other in store.all():
        if other.id != run.id and other.is_paused and other.lease_name == run.lease_name:
            raise RunBusyError(
                f"run {other.id} is {other.paused} and keeps its place; let it go on (`keydistill runs resume "
                f"{other.id}`) or stop it (`keydistill runs cancel {other.id}`)"
            )


def wait_while_paused(store: RunStore, run: _R, lease: Lease, show: Callable[[str], object]) -> _R:
    """The run as it is on record, once it is not paused.

    Args:
        store: Store with the record.
        run: The run as it was last recorded.
        lease: Lease of the work, which is kept all the time.
        show: Called with what is waited for, and with "" at the end of it.

    Raises:
        RunStateError: It was cancelled meanwhile, or went on elsewhere.
        LeaseLostError: Somebody else works on it.
    """
    present = store.load(run.id)
    if present.is_paused:
        show(str(present.paused))
        while present.is_paused:
            sleep(_SECONDS_BETWEEN_LOOKS)
            # Redis may be restarted in so long a time.
            with suppress(RedisUnavailableError):
                present = store.load(run.id)
        lease.check()
        show("")
    if present.state != run.state:
        raise RunStateError(f"run {run.id} is {present.state} now, and no longer {run.state}: work on it stops here")
    return cast(_R, present)


def _paused(run: Run) -> Run:
    """The run with the mark.

    Raises:
        RunStateError: It is at rest, is paused already, or is of a kind that cannot be paused.
    """
    if isinstance(run, RetrainRun):
        raise RunStateError(
            f"run {run.id} is a retrain, which cannot be paused; interrupt it (Ctrl-C), then "
            f"`keydistill retrain --resume {run.id}` goes on after its last finished stage"
        )
    if run.is_at_rest:
        raise RunStateError(f"run {run.id} is {run.state}: nobody works on it, and there is nothing to pause")
    if run.is_paused:
        raise RunStateError(f"run {run.id} is {run.paused} already; `keydistill runs resume {run.id}` lets it go on")
    return run.changed(paused=Pause.begun())


def _resumed(run: Run) -> Run:
    """The run without the mark.

    Raises:
        RunStateError: It is not paused.
    """
    if not run.is_paused:
        advice = f"; go on with `keydistill {run.kind} --resume {run.id}`" if run.state == "failed" else ""
        raise RunStateError(f"run {run.id} is {run.state} and not paused{advice}")
    return run.changed(paused=None)
