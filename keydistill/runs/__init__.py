"""Runs: records of long work, where they are kept, and who may work on them."""

from keydistill.runs.advice import redis_advice
from keydistill.runs.factory import open_shared_store, open_signs, open_store, redis_clock, redis_version
from keydistill.runs.history import Action, AliasChange
from keydistill.runs.installation import RESTORE_MARK, HomeContent, check_home, check_restored, remember_installation
from keydistill.runs.kinds import reindex_of, retrain_of, sync_of
from keydistill.runs.moves import MOVES, Kind, State, open_states, working_states
from keydistill.runs.outcomes import has_succeeded, subject_of, unfinished_runs
from keydistill.runs.record import (
    Executor,
    ReindexRun,
    RetrainRun,
    Run,
    StepProgress,
    SyncRun,
    part_name,
    read_run,
    stored_run,
)
from keydistill.runs.recorded_progress import RecordedProgress
from keydistill.runs.recording import change_record
from keydistill.runs.shared_store import QUEUE_PREFIX, SENT_AT, Fired, OldestMessage, SharedLease, SharedRunStore
from keydistill.runs.signs import SIGN_SECONDS, SILENT_SECONDS, Sign
from keydistill.runs.stamps import Pause, new_run_id, now, present_user
from keydistill.runs.store import Change, Lease, RunStore

__all__ = [
    "MOVES",
    "QUEUE_PREFIX",
    "RESTORE_MARK",
    "SENT_AT",
    "SIGN_SECONDS",
    "SILENT_SECONDS",
    "Action",
    "AliasChange",
    "Change",
    "Executor",
    "Fired",
    "HomeContent",
    "Kind",
    "Lease",
    "OldestMessage",
    "Pause",
    "RecordedProgress",
    "ReindexRun",
    "RetrainRun",
    "Run",
    "RunStore",
    "SharedLease",
    "SharedRunStore",
    "Sign",
    "State",
    "StepProgress",
    "SyncRun",
    "change_record",
    "check_home",
    "check_restored",
    "has_succeeded",
    "new_run_id",
    "now",
    "open_shared_store",
    "open_signs",
    "open_states",
    "open_store",
    "part_name",
    "present_user",
    "read_run",
    "redis_advice",
    "redis_clock",
    "redis_version",
    "reindex_of",
    "remember_installation",
    "retrain_of",
    "stored_run",
    "subject_of",
    "sync_of",
    "unfinished_runs",
    "working_states",
]
