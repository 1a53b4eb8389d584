"""Search settings for each shape of filter, by measurement."""

from keydistill.ingest.tuning.report import ShapeReport, TuningReport
from keydistill.ingest.tuning.tuner import Tuner

__all__ = [
    "ShapeReport",
    "Tuner",
    "TuningReport",
]
