"""The stages of a retrain that belong to one queue, in a process of its own.

python -m keydistill.execution.retrain_child RUN --queue train
"""

import argparse
import logging
import sys

from keydistill.children import die_with_parent
from keydistill.distillation.retrain import STAGES
from keydistill.errors import KeydistillError
from keydistill.execution.leases import reserve_seconds
from keydistill.execution.queues import STAGE_QUEUES
from keydistill.execution.retrain import Retrainer
from keydistill.files import protect_home
from keydistill.progress import NoProgress
from keydistill.runs import open_shared_store, retrain_of
from keydistill.settings import load_settings
from keydistill.telemetry import begin_traces, end_traces, in_json, log_format, remember_secrets

_log = logging.getLogger(__name__)


def main() -> None:
    """Do the stages; a failure is in the run's record and one line on stderr."""
    # Another worker would begin the same training.
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--queue", required=True, choices=("train", "judge"))
    options = parser.parse_args()
    if log_format() == "json":
        in_json("keydistill.retrain")
    try:
        _do_stages(options.run, options.queue)
    except KeydistillError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # The traceback is for the worker's log, which quotes the last line as the reason.
        _log.exception("run %s", options.run)
        sys.exit(f"error: {type(error).__name__}: {' '.join(str(error).split())}")
    finally:
        end_traces()


def _do_stages(run_id: str, queue: str) -> None:
    settings = load_settings()
    protect_home(settings.home, settings.home_group)
    remember_secrets(settings)
    begin_traces(settings, "retrain")
    store = open_shared_store(settings)
    run = retrain_of(store.load(run_id))
    lease = store.acquire(run.lease_name, run.id)
    try:
        stages = [stage for stage in STAGES if STAGE_QUEUES[stage] == queue]
        Retrainer(settings, store, NoProgress(), _log.warning).do_stages(run, lease, stages)
    finally:
        # With a lost lease, both do nothing.
        if store.load(run.id).is_at_rest:
            lease.release()
        else:
            lease.leave_to_run(reserve_seconds(settings))


if __name__ == "__main__":
    main()
