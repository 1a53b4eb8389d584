"""Students of the usual kind, a BERT and what stands behind it, read without torch."""

from keydistill.encoders.runtime.bert.usual import NO_WEIGHTS, UsualBert
from keydistill.encoders.runtime.bert.weights import BertWeights, Dense, Floats, UnusualError

__all__ = [
    "NO_WEIGHTS",
    "BertWeights",
    "Dense",
    "Floats",
    "UnusualError",
    "UsualBert",
]
