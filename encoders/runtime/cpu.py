"""What the CPU of this machine can do, as OpenVINO finds out from its flags."""

import os
from typing import Any, Literal

Precision = Literal["fp32", "bf16", "int8"]

# What OpenVINO calls them among what a CPU can do.
_CAPABILITIES: dict[Precision, str] = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}


def capable_precisions() -> list[Precision]:
    """What the CPU computes in by itself."""
    capabilities = _cpu_property("OPTIMIZATION_CAPABILITIES")
    return [precision for precision, capability in _CAPABILITIES.items() if capability in capabilities]


def cpu_name() -> str:
    """What the CPU calls itself."""
    return str(_cpu_property("FULL_DEVICE_NAME")).strip()


def cores() -> int:
    """Cores that this process may use."""
    # macOS has no affinities.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_property(name: str) -> Any:
    import openvino as ov

    return ov.Core().get_property("CPU", name)
