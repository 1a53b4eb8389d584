"""KL divergence: the student is to share its attention among an item's keyphrases as the assistant does."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from keydistill.distillation.losses.divergence import row_divergences
from keydistill.distillation.losses.embedding import Features, pair_cosines


def listwise_divergence(student: Tensor, assistant: Tensor, item_of: Tensor) -> Tensor:
    """KL divergence of two softmax distributions over each item's keyphrases, mean over items.

    Args:
        student: Logits, shape (b,).
        assistant: Logits, shape (b,).
        item_of: Number of the item of each pair, shape (b,), from 0 without a gap.

    Returns:
        A scalar, 0 where they agree up to a constant per item.

    >>> items = torch.tensor([0, 0, 1])
    >>> listwise_divergence(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.0, 2.0, 9.0]), items).abs().item() < 1e-6
    True
    """
    rows = torch.arange(int(item_of.max()) + 1, device=item_of.device)
    return row_divergences(student, assistant, item_of[None, :] == rows[:, None]).mean()


class KLLoss(nn.Module):
    """KL divergence between assistant and student over the keyphrases that a batch has of an item.

    Source: Hinton et al., arXiv 1503.02531; listwise as in Cao et al., ICML 2007.

    Inputs: (item, keyphrase) pairs, several per item. Labels: the assistant's probability of each.
    """

    def __init__(self, model: nn.Module, scale: float = 20.0, temperature: float = 1.0) -> None:
        """A loss for one training.

        Args:
            model: The student.
            scale: Factor that makes cosines logits.
            temperature: Divisor of the logits of both. The loss is multiplied by its square, so that the gradient keeps
                its size.
        """
        super().__init__()
        self.model = model
        self.scale = scale
        self.temperature = temperature

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        cosines, item_of = pair_cosines(self.model, list(sentence_features))
        student = self.scale * cosines / self.temperature
        assistant = torch.logit(labels.float(), eps=1e-3) / self.temperature
        return self.temperature**2 * listwise_divergence(student, assistant, item_of)
