"""A loss that counts more or less than the others it is trained with."""

from collections.abc import Iterable

from torch import Tensor, nn

from keydistill.distillation.losses.embedding import Features


class WeightedLoss(nn.Module):
    """Another loss times a weight.

    >>> import torch
    >>> class One(nn.Module):
    ...     def forward(self, features, labels):
    ...         return torch.tensor(1.0)
    >>> WeightedLoss(One(), 0.25)([], torch.tensor([])).item()
    0.25
    """

    def __init__(self, loss: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The weighted loss of a batch."""
        weighted: Tensor = self.weight * self.loss(sentence_features, labels)
        return weighted
