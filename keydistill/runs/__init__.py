"""Runs: records of long work, where they are kept, and who may work on them."""

from keydistill.runs.factory import open_store
from keydistill.runs.history import Action, AliasChange
from keydistill.runs.kinds import reindex_of, sync_of
from keydistill.runs.record import (
    ALLOWED_MOVES,
    OPEN_STATES,
    Executor,
    ReindexRun,
    RetrainRun,
    Run,
    State,
    StepProgress,
    SyncRun,
    new_run_id,
    now,
    part_name,
    present_user,
)
from keydistill.runs.recorded_progress import RecordedProgress
from keydistill.runs.recording import record
from keydistill.runs.redis_store import RedisLease, RedisRunStore
from keydistill.runs.store import Change, Lease, RunStore

__all__ = [
    "ALLOWED_MOVES",
    "OPEN_STATES",
    "Action",
    "AliasChange",
    "Change",
    "Executor",
    "Lease",
    "RecordedProgress",
    "RedisLease",
    "RedisRunStore",
    "ReindexRun",
    "RetrainRun",
    "Run",
    "RunStore",
    "State",
    "StepProgress",
    "SyncRun",
    "new_run_id",
    "now",
    "open_store",
    "part_name",
    "present_user",
    "record",
    "reindex_of",
    "sync_of",
]
