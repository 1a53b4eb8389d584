"""ListNet: in each list the student is to give every pair the chance to come first that the labels give it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from keydistill.distillation.losses.divergence import row_divergences
from keydistill.distillation.losses.embedding import Features, pair_lists


def top_one_error(student: Tensor, label: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of two top-one distributions over each list, less the entropy of the labels' own; mean over lists.

    Args:
        student: Logits, shape (b,).
        label: Logits of the labels, shape (b,).
        same: Whether two pairs belong to one list, shape (b, b).

    Returns:
        A scalar, 0 where they agree up to a constant per list, and where no list has two pairs.

    >>> same = torch.tensor([[True, True], [True, True]])
    >>> error = top_one_error(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 9.0]), same)
    >>> round(error.item(), 2)  # log 2, as the labels are nearly sure
    0.69
    """
    errors = row_divergences(student, label, same)
    # Every pair has a row; those of one list are equal, and count as one.
    lengths = same.sum(dim=1)
    weights = torch.where(lengths > 1, 1 / lengths, 0.0)
    return (weights * errors).sum() / weights.sum().clamp(min=1)


class ListNetLoss(nn.Module):
    """Top-one cross-entropy over the keyphrases of each item and over the items of each keyphrase.

    Source: Cao et al., ICML 2007. With the labels' own logits it is the KL divergence of Hinton et al., arXiv
    1503.02531, whose temperature stands on both sides and whose square keeps the gradient's size.

    Inputs: (item, keyphrase) pairs, several per item or per keyphrase. Labels: a probability or grade of each, 0 to 1.
    """

    def __init__(self, model: nn.Module, scale: float = 20.0, temperature: float = 1.0) -> None:
        """A loss for one training.

        Args:
            model: The student.
            scale: Factor that makes cosines logits.
            temperature: Divisor of the logits of both sides.
        """
        super().__init__()
        self.model = model
        self.scale = scale
        self.temperature = temperature

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        cosines, lists = pair_lists(self.model, list(sentence_features))
        student = self.scale * cosines / self.temperature
        label = torch.logit(labels.float(), eps=1e-3) / self.temperature
        errors = [top_one_error(student, label, same) for same in lists]
        return self.temperature**2 * torch.stack(errors).mean()
