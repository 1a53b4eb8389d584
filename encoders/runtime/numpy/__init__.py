"""Students of the usual kind in numpy, fp32: exact, and without torch."""

from keydistill.encoders.runtime.numpy.runtime import NumpyRuntime

__all__ = ["NumpyRuntime"]
