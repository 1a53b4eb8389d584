"""Runs: records of long work, where they are kept, and who may work on them."""

from runs.factory import open_store
from runs.history import AliasChange
from runs.kinds import reindex_of, sync_of
from runs.record import (
    ALLOWED_MOVES,
    OPEN_STATES,
    ReindexRun,
    RetrainRun,
    Run,
    State,
    StepProgress,
    SyncRun,
    new_run_id,
    now,
)
from runs.store import Change, Lease, RunStore

__all__ = [
    "ALLOWED_MOVES",
    "OPEN_STATES",
    "AliasChange",
    "Change",
    "Lease",
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
    "reindex_of",
    "sync_of",
]
