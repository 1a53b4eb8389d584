"""Margin-weighted ranking: of two pairs of a list the better one is to stand above, weighted by how much better."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from keydistill.distillation.losses.embedding import Features, pair_lists


def weighted_rank_error(student: Tensor, label: Tensor, same: Tensor) -> Tensor:
    """Mean of log(1 + exp(s_l - s_h)) over two pairs h, l of a list with y_h > y_l, weighted by y_h - y_l.

    Args:
        student: Logits, shape (b,).
        label: Labels, shape (b,).
        same: Whether two pairs belong to one list, shape (b, b).

    Returns:
        A scalar; 0 where no list has two labels.

    >>> same = torch.ones(3, 3, dtype=torch.bool)
    >>> error = weighted_rank_error(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 0.5, 0.0]), same)
    >>> round(error.item(), 4)  # log 2, whatever the weights
    0.6931
    """
    weights = (label[:, None] - label[None, :]).clamp(min=0) * same
    errors = functional.softplus(student[None, :] - student[:, None])
    return (weights * errors).sum() / weights.sum().clamp(min=1e-6)


class MarginRankLoss(nn.Module):
    """Pairwise logistic loss over the keyphrases of each item and the items of each keyphrase, weighted by the margins.

    Source: RankNet (Burges et al., ICML 2005), each comparison weighted by the difference of its labels.

    Inputs: (item, keyphrase) pairs, several per item or per keyphrase. Labels: a probability or grade of each.
    """

    def __init__(self, model: nn.Module, scale: float = 20.0) -> None:
        """A loss for one training.

        Args:
            model: The student.
            scale: Factor that makes cosines logits.
        """
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        cosines, lists = pair_lists(self.model, list(sentence_features))
        errors = [weighted_rank_error(self.scale * cosines, labels.float(), same) for same in lists]
        return torch.stack(errors).mean()
