"""Runtimes: what computes a student's vectors. All give a text the same vector, to `TOLERANCE`."""

from keydistill.encoders.runtime.choice import ChosenRuntime, load_runtime
from keydistill.encoders.runtime.export_folder import ExportReport
from keydistill.encoders.runtime.protocol import INT8_TOLERANCE, TOLERANCE, Runtime, RuntimeName, WantedRuntime

__all__ = [
    "INT8_TOLERANCE",
    "TOLERANCE",
    "ChosenRuntime",
    "ExportReport",
    "Runtime",
    "RuntimeName",
    "WantedRuntime",
    "load_runtime",
]
