"""The write path: inventories become snapshots, snapshots become collections."""

from ingest.alias_changes import AliasChanges
from ingest.gate_report import GateReport
from ingest.identity import point_id, text_hash
from ingest.inventory import InventoryReport, check_inventory
from ingest.parts import PART_SCHEMA, Part
from ingest.pruning import PrunePlan, Pruning
from ingest.reindex import Reindexer
from ingest.reindex_steps import ReindexSteps
from ingest.snapshot import Snapshot, SnapshotSettings, SnapshotSummary, build_snapshot
from ingest.sources import RunSources
from ingest.sync import Syncer
from ingest.sync_steps import SyncPlan, SyncSteps
from ingest.tuning import Tuner
from ingest.tuning_report import ShapeReport, TuningReport

__all__ = [
    "PART_SCHEMA",
    "AliasChanges",
    "GateReport",
    "InventoryReport",
    "Part",
    "PrunePlan",
    "Pruning",
    "ReindexSteps",
    "Reindexer",
    "RunSources",
    "ShapeReport",
    "Snapshot",
    "SnapshotSettings",
    "SnapshotSummary",
    "SyncPlan",
    "SyncSteps",
    "Syncer",
    "Tuner",
    "TuningReport",
    "build_snapshot",
    "check_inventory",
    "point_id",
    "text_hash",
]
