"""The CPU of this machine: its name, and what it can do, as OpenVINO finds out from its flags."""

import os
import platform
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16", "int8"]

# What OpenVINO calls them among what a CPU can do.
_CAPABILITIES: dict[Precision, str] = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}


def capable_precisions() -> list[Precision]:
    """The precisions that the CPU computes in by itself."""
    import openvino as ov

    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [precision for precision, capability in _CAPABILITIES.items() if capability in capabilities]


def cpu_name() -> str:
    """The name that the CPU gives itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    # macOS has no affinities.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
