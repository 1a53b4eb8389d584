"""Importers: one module per format that users already have."""

from keydistill.distillation.signals.importers.esci import import_esci
from keydistill.distillation.signals.importers.qrels import import_beir, import_qrels
from keydistill.distillation.signals.importers.ubi import import_ubi
from keydistill.distillation.signals.importers.ubi_log import UbiOptions
from keydistill.distillation.signals.importers.wands import import_wands

__all__ = [
    "UbiOptions",
    "import_beir",
    "import_esci",
    "import_qrels",
    "import_ubi",
    "import_wands",
]
