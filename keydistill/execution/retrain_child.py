"""The stages of a retrain that belong to one queue, in a process of its own.

python -m keydistill.execution.retrain_child RUN --queue train
"""

import argparse
import ctypes
import logging
import signal
import sys

from keydistill.distillation.retrain import STAGES
from keydistill.errors import KeydistillError, SettingsError
from keydistill.progress import NoProgress
from keydistill.runs import RedisRunStore, open_store
from keydistill.settings import load_settings

_PR_SET_PDEATHSIG = 1
_log = logging.getLogger(__name__)


def queue_of_stage(stage: str) -> str:
    """Judging waits for an endpoint; everything else computes."""
    return "judge" if stage == "judge" else "train"


def main() -> None:
    """Do the stages; a failure is in the run's record and one line on stderr."""
    if sys.platform == "linux":
        # A worker that is killed cannot stop us, and another one would begin the same training.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--queue", required=True, choices=("train", "judge"))
    options = parser.parse_args()
    try:
        _do_stages(options.run, options.queue)
    except KeydistillError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # The traceback is for the worker's log, the last line is what it says of us.
        _log.exception("run %s", options.run)
        sys.exit(f"error: {type(error).__name__}: {' '.join(str(error).split())}")


def _do_stages(run_id: str, queue: str) -> None:
    from keydistill.execution.retrain import Retrainer, retrain_of

    settings = load_settings()
    store = open_store(settings)
    if not isinstance(store, RedisRunStore):
        raise SettingsError("redis_url is not set; workers share their runs in Redis: set KEYDISTILL_REDIS_URL")
    run = retrain_of(store.load(run_id))
    lease = store.acquire(run.lease_name, run.id)
    try:
        stages = [stage for stage in STAGES if queue_of_stage(stage) == queue]
        Retrainer(settings, store, NoProgress(), _log.warning).carry_out(run, lease, stages)
    finally:
        # Of a lease that is lost both do nothing.
        present = store.load(run.id)
        if present.is_over or present.state == "failed":
            lease.release()
        else:
            lease.leave_to_run(5 * settings.lease_seconds + 5 * settings.watchdog_seconds)


if __name__ == "__main__":
    main()
