"""Settings with which a small transformer trains faster on CPU; measured with `torch.profiler`, torch 2.13."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def training_attention() -> dict[str, str]:
    """Options for loading a model that is to be trained: which attention it computes with.

    The backward pass of the fused attention takes twice as long on CPU as that of plain products.
    """
    import torch

    return {} if torch.cuda.is_available() else {"attn_implementation": "eager"}


def set_dropout(model: nn.Module, share: float) -> None:
    """Set the dropout of all layers; the model's configuration, and so what is saved, stays as it is."""
    from torch.nn import Dropout

    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = share
