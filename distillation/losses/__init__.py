"""The losses that a student is trained with, one per file. MatryoshkaLoss of sentence-transformers wraps each of them.

Importing this package imports no torch: the classes are loaded when they are asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keydistill.distillation.losses.table import (
    DISTILLATION_LOSSES,
    LOSS_NAMES,
    DistillationLoss,
    LossName,
    distillation_loss,
)

if TYPE_CHECKING:
    from keydistill.distillation.losses.in_batch import InBatchLoss, KnownPairs
    from keydistill.distillation.losses.weighted import WeightedLoss

# Class to its module.
_CLASSES = {
    "InBatchLoss": "in_batch",
    "KnownPairs": "in_batch",
    "WeightedLoss": "weighted",
}

__all__ = [
    "DISTILLATION_LOSSES",
    "LOSS_NAMES",
    "DistillationLoss",
    "InBatchLoss",
    "KnownPairs",
    "LossName",
    "WeightedLoss",
    "distillation_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_CLASSES[name]}"), name)
