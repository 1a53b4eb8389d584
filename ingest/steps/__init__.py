"""The steps of a reindex and of a sync: what is done in each state of a run, whichever process does it."""

from keydistill.ingest.steps.planning import Plan, plan
from keydistill.ingest.steps.reindex import ReindexSteps
from keydistill.ingest.steps.sync import SyncPlan, SyncSteps

__all__ = [
    "Plan",
    "ReindexSteps",
    "SyncPlan",
    "SyncSteps",
    "plan",
]
