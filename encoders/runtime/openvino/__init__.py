"""Students as OpenVINO graphs, in fp32, bf16 or int8."""

from keydistill.encoders.runtime.openvino.export import exported, load_exported, openvino_rates
from keydistill.encoders.runtime.openvino.runtime import OpenVinoRuntime

__all__ = [
    "OpenVinoRuntime",
    "exported",
    "load_exported",
    "openvino_rates",
]
