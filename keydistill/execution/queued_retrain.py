"""How workers carry out a retrain: each queue's stages in a child process of the worker.

A child, so that memory goes back to the system after each, a crash of the arithmetic cannot take the worker along, and
the worker can still be asked how it is.
"""

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress

from keydistill.errors import RunBusyError, RunError, RunNotFoundError, RunStateError
from keydistill.execution.process import WorkerProcess
from keydistill.execution.queued import Send, reserve_seconds
from keydistill.execution.retrain import next_stage
from keydistill.execution.retrain_child import queue_of_stage
from keydistill.runs import RedisRunStore, RetrainRun, Run

_log = logging.getLogger(__name__)
_LOGGED_LINES = 40


def queue_of(run: Run) -> str:
    """The queue that the run's next stage belongs to."""
    assert isinstance(run, RetrainRun)
    return queue_of_stage(next_stage(run))


def do_stages(process: WorkerProcess, run_id: str, queue: str, send: Send) -> str:
    """Do the stages of a retrain that belong to a queue, and send the run on; see `reindex_work.advance`."""
    store = process.store
    try:
        run = store.load(run_id)
        if run.is_over or run.state == "failed":
            return f"run {run.id} is {run.state}"
        if store.owner(run.lease_name) is not None:
            return f"another process is at run {store.holder(run.lease_name)}"
        store.reserve(run.lease_name, run.id, reserve_seconds(process))
    except (RunBusyError, RunNotFoundError) as reason:
        return str(reason)
    stage = next_stage(run)
    if run.attempts.get(stage, 0) >= process.settings.part_attempts:
        return _fail(store, run, f"stage {stage} was taken up {run.attempts[stage]} times and never ended")
    store.update(run.id, lambda now: now.attempted(stage))
    try:
        code, said = _in_child(run.id, queue)
    except BaseException:
        # The worker is being stopped: not the stage's fault.
        with suppress(RunError):
            store.update(run.id, lambda now: now.not_attempted(stage))
        raise
    run = store.load(run.id)
    if run.is_over or run.state == "failed":
        return f"run {run.id} is {run.state}"
    if code == 0 or code < 0:
        # Done with this queue's stages; or killed, and then it goes on where it was.
        if code < 0:
            _log.warning("the child that did %s was ended by %s", stage, signal.Signals(-code).name)
        send("keydistill.retrain_stages", run.id, queue=queue_of(run))
        return f"run {run.id} goes on with {next_stage(run)}"
    # It could not even write its failure down; the watchdog tries again, as often as attempts are allowed.
    return f"run {run.id}: {said}"


def _in_child(run_id: str, queue: str) -> tuple[int, str]:
    """Exit status (negative: the signal that ended it) and last line on stderr."""
    child = subprocess.Popen(
        [sys.executable, "-m", "keydistill.execution.retrain_child", run_id, "--queue", queue],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    try:
        _, output = child.communicate()
    except BaseException:
        child.terminate()
        child.wait()
        raise
    lines = output.strip().splitlines() or [f"exit status {child.returncode}"]
    if output.strip():
        _log.warning("the last lines of %s: %s", run_id, "\n".join(lines[-_LOGGED_LINES:]))
    return child.returncode, lines[-1]


def _fail(store: RedisRunStore, run: Run, reason: str) -> str:
    said = f"{reason}; look at the workers' logs, then `keydistill retrain --resume {run.id} --executor celery`"
    # It may have been cancelled a moment ago.
    with suppress(RunStateError):
        store.update(run.id, lambda now: now.failed(said))
    store.give_up(run.lease_name, run.id)
    return reason
