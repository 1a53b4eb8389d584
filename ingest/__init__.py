"""The write path: inventories become snapshots, snapshots become collections."""

from ingest.identity import point_id, text_hash
from ingest.inventory import InventoryReport, check_inventory
from ingest.parts import PART_SCHEMA, Part
from ingest.reindex import Reindexer
from ingest.run import OPEN_STATES, Run
from ingest.run_store import FileRunStore
from ingest.snapshot import Snapshot, SnapshotSettings, SnapshotSummary, build_snapshot

__all__ = [
    "OPEN_STATES",
    "PART_SCHEMA",
    "FileRunStore",
    "InventoryReport",
    "Part",
    "Reindexer",
    "Run",
    "Snapshot",
    "SnapshotSettings",
    "SnapshotSummary",
    "build_snapshot",
    "check_inventory",
    "point_id",
    "text_hash",
]
