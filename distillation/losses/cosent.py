"""CoSENT: a pair with a higher label is to have the higher cosine."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from keydistill.distillation.losses.embedding import Features, pair_cosines


def ranking_loss(cosines: Tensor, labels: Tensor, scale: float = 20.0) -> Tensor:
    """log(1 + sum of exp(scale * (cos_l - cos_h))) over all pairs (h, l) in which h has the higher label.

    Args:
        cosines: Shape (b,).
        labels: Shape (b,); only their order counts.
        scale: Inverse temperature.

    Returns:
        A scalar; 0 where all labels are equal.

    >>> round(ranking_loss(torch.tensor([0.9, 0.1]), torch.tensor([1.0, 0.0])).item(), 6)
    0.0
    >>> round(ranking_loss(torch.tensor([0.1, 0.9]), torch.tensor([1.0, 0.0])).item(), 3)
    16.0
    """
    differences = scale * (cosines[None, :] - cosines[:, None])
    higher = labels[:, None] > labels[None, :]
    wrong = differences.masked_fill(~higher, -torch.inf).flatten()
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong]), dim=0)


class CoSENTLoss(nn.Module):
    """CoSENT over a batch; each distinct text is embedded once.

    Source: Huang et al., "CoSENT: Consistent Sentence Embedding via Similarity Ranking" (IEEE/ACM TASLP 2024). Equal
    to `sentence_transformers.losses.CoSENTLoss`, which embeds a title again for each of its keyphrases.

    Inputs: (item, keyphrase) pairs. Labels: a grade, score or probability of each.
    """

    def __init__(self, model: nn.Module, scale: float = 20.0) -> None:
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        cosines, _ = pair_cosines(self.model, list(sentence_features))
        return ranking_loss(cosines, labels.float(), self.scale)
