"""The signals that training learns from: clicks, search relevance and judgments of pairs, and the items of these."""

from keydistill.distillation.signals.clicks import (
    CORRECTED_CLICKS,
    ClickCorrection,
    CorrectedClicks,
    Method,
    correct_clicks,
)
from keydistill.distillation.signals.importing import ImportSummary, ImportTarget
from keydistill.distillation.signals.positions import EtaEstimate, PositionCurve, estimate_eta, position_curve
from keydistill.distillation.signals.readers import (
    MAX_KEYPHRASE_CHARS,
    free_fields,
    load_clicks,
    load_items,
    load_judgments,
    load_search_relevance,
    read_clicks,
    read_items,
    read_judgments,
    read_search_relevance,
)
from keydistill.distillation.signals.report import SignalFiles, SignalsReport, check_signals
from keydistill.distillation.signals.schemas import CLICKS, INVENTORY, ITEMS, JUDGMENTS, SCHEMAS, SEARCH_RELEVANCE
from keydistill.distillation.signals.validation import pair_columns

__all__ = [
    "CLICKS",
    "CORRECTED_CLICKS",
    "INVENTORY",
    "ITEMS",
    "JUDGMENTS",
    "MAX_KEYPHRASE_CHARS",
    "SCHEMAS",
    "SEARCH_RELEVANCE",
    "ClickCorrection",
    "CorrectedClicks",
    "EtaEstimate",
    "ImportSummary",
    "ImportTarget",
    "Method",
    "PositionCurve",
    "SignalFiles",
    "SignalsReport",
    "check_signals",
    "correct_clicks",
    "estimate_eta",
    "free_fields",
    "load_clicks",
    "load_items",
    "load_judgments",
    "load_search_relevance",
    "pair_columns",
    "position_curve",
    "read_clicks",
    "read_items",
    "read_judgments",
    "read_search_relevance",
]
