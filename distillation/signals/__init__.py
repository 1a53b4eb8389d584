"""What training learns from: clicks, search relevance and judgments of pairs, and the items that they speak of."""

from distillation.signals.clicks import CORRECTED_CLICKS, ClickCorrection, CorrectedClicks, Method, correct_clicks
from distillation.signals.importers import (
    UbiOptions,
    import_beir,
    import_esci,
    import_qrels,
    import_ubi,
    import_wands,
)
from distillation.signals.importing import ImportSummary, ImportTarget
from distillation.signals.positions import EtaEstimate, PositionCurve, estimate_eta, position_curve
from distillation.signals.readers import (
    load_clicks,
    load_items,
    load_judgments,
    load_search_relevance,
    read_clicks,
    read_items,
    read_judgments,
    read_search_relevance,
)
from distillation.signals.report import SignalFiles, SignalsReport, check_signals
from distillation.signals.schemas import CLICKS, INVENTORY, ITEMS, JUDGMENTS, SCHEMAS, SEARCH_RELEVANCE

__all__ = [
    "CLICKS",
    "CORRECTED_CLICKS",
    "INVENTORY",
    "ITEMS",
    "JUDGMENTS",
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
    "UbiOptions",
    "check_signals",
    "correct_clicks",
    "estimate_eta",
    "import_beir",
    "import_esci",
    "import_qrels",
    "import_ubi",
    "import_wands",
    "load_clicks",
    "load_items",
    "load_judgments",
    "load_search_relevance",
    "position_curve",
    "read_clicks",
    "read_items",
    "read_judgments",
    "read_search_relevance",
]
