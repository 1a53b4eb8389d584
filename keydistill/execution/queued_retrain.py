"""How workers carry out a retrain: each queue's stages in a child process of the worker.

They run in a child so that memory goes back to the system after each, a crash of the arithmetic cannot take the worker
along, and the worker still answers when it is asked for its state.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress

from keydistill.errors import RunBusyError, RunError, RunNotFoundError, RunStateError
from keydistill.execution.failures import record_failure
from keydistill.execution.leases import reserve_seconds
from keydistill.execution.process import WorkerProcess
from keydistill.execution.queues import Send, message_of, next_stage
from keydistill.runs import Run, SharedRunStore
from keydistill.telemetry import FIELDS, log_format

_log = logging.getLogger(__name__)
_LOGGED_LINES = 40


def do_stages(process: WorkerProcess, run_id: str, queue: str, send: Send) -> str:
    """Do the stages of a retrain that belong to a queue, and send the run on; the rest is as in `queued.advance`."""
    store = process.store
    try:
        run = store.load(run_id)
        if run.is_at_rest:
            return f"run {run.id} is {run.state}"
        if store.owner(run.lease_name) is not None:
            return f"another process is at run {store.holder(run.lease_name)}"
        store.reserve(run.lease_name, run.id, reserve_seconds(process.settings))
    except (RunBusyError, RunNotFoundError) as reason:
        return str(reason)
    stage = next_stage(run)
    if run.attempts.get(stage, 0) >= process.settings.part_attempts:
        return _fail(store, run, f"stage {stage} was taken up {run.attempts[stage]} times and never ended")
    store.update(run.id, lambda now: now.attempted(stage))
    try:
        code, last_line = _in_child(run.id, queue)
    except BaseException:
        # The worker is being stopped, which is not the stage's fault.
        with suppress(RunError):
            store.update(run.id, lambda now: now.not_attempted(stage))
        raise
    run = store.load(run.id)
    if run.is_at_rest:
        return f"run {run.id} is {run.state}"
    if code == 0 or code < 0:
        # The child is done with this queue's stages, or was killed, and then the run goes on where it was.
        if code < 0:
            _log.warning("the child that did %s was ended by %s", stage, signal.Signals(-code).name)
        message_of(run).send(send)
        return f"run {run.id} goes on with {next_stage(run)}"
    # The child could not even record its failure; the watchdog tries again, as often as attempts are allowed.
    return f"run {run.id}: {last_line}"


def _in_child(run_id: str, queue: str) -> tuple[int, str]:
    """Run the child; returns its exit status (negative: the signal that ended it) and its last line on stderr."""
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
    if log_format() == "json":
        lines = [_logged_again(line) for line in lines]
    elif output.strip():
        _log.warning("the last lines of %s: %s", run_id, "\n".join(lines[-_LOGGED_LINES:]))
    return child.returncode, lines[-1]


def _logged_again(line: str) -> str:
    """Log a line of the child's log in ours, as it is; returns its message."""
    try:
        fields = dict(json.loads(line))
        level = logging.getLevelNamesMapping()[fields["level"].upper()]
    except (ValueError, KeyError, AttributeError, TypeError):
        # What crashed did not write it by our rules.
        fields, level = {"message": line}, logging.WARNING
    message = str(fields.pop("message", ""))
    _log.log(level, "%s", message, extra={FIELDS: fields})
    return message


def _fail(store: SharedRunStore, run: Run, reason: str) -> str:
    # The run may have been cancelled a moment ago.
    with suppress(RunStateError):
        advice = f"look at the workers' logs, then `keydistill retrain --resume {run.id} --executor celery`"
        record_failure(store, run.id, f"{reason}; {advice}")
    return reason
