"""Snapshots: the validated, normalised, merged, length-sorted copy of an inventory that a run works from."""

from keydistill.ingest.snapshot.changes import ChangeCounts, SnapshotChanges, compare
from keydistill.ingest.snapshot.input_tables import load_pairs, read_inventory, read_table
from keydistill.ingest.snapshot.parts import PART_SCHEMA, Part
from keydistill.ingest.snapshot.profiles import SnapshotProfile, profile
from keydistill.ingest.snapshot.reuse import linked, of_the_same_files, would_be_the_same
from keydistill.ingest.snapshot.snapshot import Snapshot, SnapshotSettings, SnapshotSummary, build_snapshot
from keydistill.ingest.snapshot.sources import RunSources

__all__ = [
    "PART_SCHEMA",
    "ChangeCounts",
    "Part",
    "RunSources",
    "Snapshot",
    "SnapshotChanges",
    "SnapshotProfile",
    "SnapshotSettings",
    "SnapshotSummary",
    "build_snapshot",
    "compare",
    "linked",
    "load_pairs",
    "of_the_same_files",
    "profile",
    "read_inventory",
    "read_table",
    "would_be_the_same",
]
