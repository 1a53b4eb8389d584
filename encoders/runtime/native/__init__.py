"""Students in int8 by kernels of our own, for CPUs with AVX2 or more, and ARM with the dot product."""

from keydistill.encoders.runtime.native.export import instructions_if_rounded, int8_rates, load_int8
from keydistill.encoders.runtime.native.runtime import Int8Runtime

__all__ = [
    "Int8Runtime",
    "instructions_if_rounded",
    "int8_rates",
    "load_int8",
]
