"""What the student is trained with: one loss per file. MatryoshkaLoss of sentence-transformers wraps each of them."""

from distillation.losses.cosent import CoSENTLoss
from distillation.losses.in_batch import InBatchLoss, KnownPairs
from distillation.losses.kl import KLLoss
from distillation.losses.margin_mse import MarginMSELoss
from distillation.losses.pearson import PearsonLoss
from distillation.losses.weighted import WeightedLoss

__all__ = [
    "CoSENTLoss",
    "InBatchLoss",
    "KLLoss",
    "KnownPairs",
    "MarginMSELoss",
    "PearsonLoss",
    "WeightedLoss",
]
