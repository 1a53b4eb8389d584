"""Inventory files in, validated rows out; what cannot become a row is a reject with a reason."""

from keydistill.ingest.inventory.check import InventoryReport, check_inventory
from keydistill.ingest.inventory.identity import point_id, point_ids, text_hash
from keydistill.ingest.inventory.intake import Intake
from keydistill.ingest.inventory.merging import BATCH_ROWS, STAGED_SCHEMA, merged_rows, sorted_rows, sorting_database
from keydistill.ingest.inventory.validation import ROW_SCHEMA

__all__ = [
    "BATCH_ROWS",
    "ROW_SCHEMA",
    "STAGED_SCHEMA",
    "Intake",
    "InventoryReport",
    "check_inventory",
    "merged_rows",
    "point_id",
    "point_ids",
    "sorted_rows",
    "sorting_database",
    "text_hash",
]
