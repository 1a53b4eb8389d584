"""The gate: the check that a verified collection is at least as good as the live one, before the alias may name it."""

from keydistill.ingest.gate.gate import Gate
from keydistill.ingest.gate.items import GateItems, gate_items
from keydistill.ingest.gate.measures import embedded
from keydistill.ingest.gate.report import GateReport, Row

__all__ = [
    "Gate",
    "GateItems",
    "GateReport",
    "Row",
    "embedded",
    "gate_items",
]
