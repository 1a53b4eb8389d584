"""MarginMSE: differences between an item's keyphrases are to be as large as the assistant says."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from keydistill.distillation.losses.embedding import Features, pair_cosines


def margin_error(student: Tensor, assistant: Tensor, item_of: Tensor) -> Tensor:
    """Mean squared difference of the margins between two keyphrases of one item.

    Args:
        student: Scores, shape (b,).
        assistant: Scores on the same scale, shape (b,).
        item_of: Number of the item of each pair, shape (b,).

    Returns:
        A scalar; 0 where no item has two keyphrases.

    >>> items = torch.tensor([0, 0, 1])
    >>> error = margin_error(torch.tensor([0.9, 0.1, 0.0]), torch.tensor([1.0, 0.0, 7.0]), items)
    >>> round(error.item(), 4)  # (0.8 - 1)^2
    0.04
    """
    same_item = torch.triu(item_of[:, None] == item_of[None, :], diagonal=1)
    residual = student - assistant
    margins = (residual[:, None] - residual[None, :])[same_item]
    return margins.square().mean() if margins.numel() else residual.sum() * 0


class MarginMSELoss(nn.Module):
    """Mean squared error of the margins between the keyphrases of an item.

    Source: Hofstätter et al., arXiv 2010.02666, here over all pairs of keyphrases that a batch has of an item.

    Inputs: (item, keyphrase) pairs, several per item. Labels: the assistant's probability of each.
    """

    def __init__(self, model: nn.Module, scale: float = 1.0) -> None:
        """A loss for one training.

        Args:
            model: The student.
            scale: Factor of the cosines, so that they span what probabilities do.
        """
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        cosines, item_of = pair_cosines(self.model, list(sentence_features))
        return margin_error(self.scale * cosines, labels.float(), item_of)
