"""What the student is trained with: one loss per file. MatryoshkaLoss of sentence-transformers wraps each of them."""

from keydistill.distillation.losses.cosent import CoSENTLoss
from keydistill.distillation.losses.in_batch import InBatchLoss, KnownPairs
from keydistill.distillation.losses.kl import KLLoss
from keydistill.distillation.losses.margin_mse import MarginMSELoss
from keydistill.distillation.losses.pearson import PearsonLoss
from keydistill.distillation.losses.weighted import WeightedLoss

__all__ = [
    "CoSENTLoss",
    "InBatchLoss",
    "KLLoss",
    "KnownPairs",
    "MarginMSELoss",
    "PearsonLoss",
    "WeightedLoss",
]
