"""The gate: the check that a verified collection is at least as good as the live one, before the alias may name it."""

from keydistill.ingest.gate.gate import Gate
from keydistill.ingest.gate.items import GateItems, gate_items
from keydistill.ingest.gate.measures import embedded
from keydistill.ingest.gate.report import GateReport, Row
from keydistill.ingest.gate.shadow import SHADOW_DEPTH, ShadowSummary, shadow_rows

__all__ = [
    "SHADOW_DEPTH",
    "Gate",
    "GateItems",
    "GateReport",
    "Row",
    "ShadowSummary",
    "embedded",
    "gate_items",
    "shadow_rows",
]
