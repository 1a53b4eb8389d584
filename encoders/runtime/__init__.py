"""Runtimes: what computes a student's vectors. All give a text the same vector, to `TOLERANCE`."""

from encoders.runtime.choice import load_runtime
from encoders.runtime.export_folder import ExportReport
from encoders.runtime.int8_export import load_int8
from encoders.runtime.int8_runtime import Int8Runtime
from encoders.runtime.openvino_export import exported, load_exported
from encoders.runtime.openvino_runtime import OpenVinoRuntime
from encoders.runtime.protocol import INT8_TOLERANCE, TOLERANCE, Runtime, RuntimeName, WantedRuntime
from encoders.runtime.torch_runtime import TorchRuntime

__all__ = [
    "INT8_TOLERANCE",
    "TOLERANCE",
    "ExportReport",
    "Int8Runtime",
    "OpenVinoRuntime",
    "Runtime",
    "RuntimeName",
    "TorchRuntime",
    "WantedRuntime",
    "exported",
    "load_exported",
    "load_int8",
    "load_runtime",
]
