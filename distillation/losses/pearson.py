"""Pearson correlation: the student's cosines are to be a linear function of the assistant's scores."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from keydistill.distillation.losses.embedding import Features, pair_cosines


def pearson_distance(student: Tensor, assistant: Tensor, eps: float = 1e-6) -> Tensor:
    """One minus the Pearson correlation of two vectors.

    Neither scale nor offset of the assistant's scores matters, so that the student need not squeeze its cosines into
    the range of probabilities.

    Args:
        student: Cosines, shape (b,).
        assistant: Scores, shape (b,).
        eps: Keeps the gradient finite where one of them is constant.

    Returns:
        Between 0 (they rise together) and 2, a scalar; 1 where one of them is constant.

    >>> pearson_distance(torch.tensor([0.1, 0.2, 0.4]), torch.tensor([1.0, 2.0, 4.0])).item() < 1e-4
    True
    >>> round(pearson_distance(torch.tensor([0.4, 0.2, 0.1]), torch.tensor([1.0, 2.0, 4.0])).item(), 3)
    1.929
    """
    student = student - student.mean()
    assistant = assistant - assistant.mean()
    norms = torch.sqrt((student.square().sum() + eps**2) * (assistant.square().sum() + eps**2))
    return 1 - (student * assistant).sum() / norms


class PearsonLoss(nn.Module):
    """One minus the Pearson correlation, over a batch, of the student's cosines and the assistant's scores.

    Source: arXiv 2508.03628, the distillation loss of the bi-encoder.

    Inputs: (item, keyphrase) pairs. Labels: the assistant's score of each, on any scale. A batch should hold several
    keyphrases per item, as those of `keydistill.distillation.student.batches` do: a correlation between items alone
    teaches no ranking.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        cosines, _ = pair_cosines(self.model, list(sentence_features))
        return pearson_distance(cosines, labels.float())
