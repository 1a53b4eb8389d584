"""What is live, and changing it: swap, roll back, catch up with accepted syncs, prune."""

from keydistill.ingest.aliases.adoption import Adoption, AdoptionPlan
from keydistill.ingest.aliases.changes import AliasChanges, content_lease
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.ingest.aliases.journal import accepted_syncs, last_number, missing_sync
from keydistill.ingest.aliases.lease import alias_lease, alone, patiently
from keydistill.ingest.aliases.pruning import PrunePlan, Pruning
from keydistill.ingest.aliases.records import went_live
from keydistill.ingest.aliases.retention import RetentionPlan, RunRetention

__all__ = [
    "Adoption",
    "AdoptionPlan",
    "AliasChanges",
    "AliasHistory",
    "PrunePlan",
    "Pruning",
    "RetentionPlan",
    "RunRetention",
    "accepted_syncs",
    "alias_lease",
    "alone",
    "content_lease",
    "last_number",
    "missing_sync",
    "patiently",
    "went_live",
]
