"""In-batch negatives of which the false ones are masked."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from keydistill.distillation.losses.embedding import Features, embed_once


class KnownPairs(nn.Module):
    """A set of (item, keyphrase) pairs that are no negatives, looked up on the device of the batch.

    >>> known_pairs = KnownPairs(np.array([[3, 5], [1, 2]]), keyphrases=10)
    >>> known_pairs(torch.tensor([1, 3]), torch.tensor([2, 5])).tolist()
    [[True, False], [False, True]]
    """

    codes: Tensor

    def __init__(self, pairs: NDArray[np.int64], keyphrases: int) -> None:
        """A set of pairs.

        Args:
            pairs: Numbers of item and keyphrase, shape (n, 2).
            keyphrases: Number of keyphrases, above the number of each.
        """
        super().__init__()
        self.keyphrases = keyphrases
        codes = np.unique(pairs[:, 0] * keyphrases + pairs[:, 1])
        # No pair has the last code: it stands where a search ends behind all the others.
        self.register_buffer("codes", torch.from_numpy(np.append(codes, -1).astype(np.int64)), persistent=False)

    def forward(self, items: Tensor, keyphrases: Tensor) -> Tensor:
        """Whether each pair is known; items (n,) and keyphrases (m,) give (n, m)."""
        codes = items[:, None] * self.keyphrases + keyphrases[None, :]
        return self.codes[torch.searchsorted(self.codes[:-1].contiguous(), codes)] == codes


def contrastive_loss(scores: Tensor, positive: Tensor, ignored: Tensor) -> Tensor:
    """Mean cross-entropy of each row's positive against the columns that are not ignored.

    Args:
        scores: Logits, shape (n, m).
        positive: Column of each row's positive, shape (n,).
        ignored: Columns that are no negatives of a row, shape (n, m); the positive is never ignored.

    Returns:
        A scalar.

    >>> scores = torch.tensor([[2.0, 9.0, 0.0]])
    >>> ignored = torch.tensor([[True, True, False]])
    >>> round(contrastive_loss(scores, torch.tensor([0]), ignored).item(), 4)  # log(1 + exp(0 - 2))
    0.1269
    """
    ignored = ignored.scatter(1, positive[:, None], False)
    return functional.cross_entropy(scores.masked_fill(ignored, -torch.inf), positive)


class InBatchLoss(nn.Module):
    """An item's keyphrase against all others of the batch, and a keyphrase's item against all other items.

    A clicked pair teaches that the two belong together, and that most other keyphrases of the batch do not. Of these
    some do all the same: the same keyphrase once more, one that is known to be right for the item, or one that the
    assistant calls relevant. `KnownPairs` names them, and they are left out.

    Source: van den Oord et al., arXiv 1807.03748 (InfoNCE); masking of false negatives as in Qu et al., arXiv
    2010.08191 (RocketQA).

    Inputs: item, its keyphrase and optionally columns of hard negatives. Labels: the number of the item and of the
    keyphrase of each column, shape (b, columns).
    """

    def __init__(self, model: nn.Module, known_pairs: KnownPairs, scale: float = 20.0) -> None:
        """A loss for one training.

        Args:
            model: The student.
            known_pairs: Set of the pairs that are no negatives.
            scale: Factor of the cosines, an inverse temperature.
        """
        super().__init__()
        self.model = model
        self.known_pairs = known_pairs
        self.scale = scale

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        item_features, *keyphrase_features = sentence_features
        embedded = [embed_once(self.model, item_features)]
        embedded += [embed_once(self.model, features) for features in keyphrase_features]
        items, keyphrases = (vectors[of] for vectors, of in embedded[:2])
        candidates = torch.cat([vectors[of] for vectors, of in embedded[1:]])
        item_numbers, keyphrase_numbers = labels[:, 0], labels[:, 1]
        candidate_numbers = labels[:, 1:].T.flatten()

        own = torch.arange(len(items), device=labels.device)
        false = self.known_pairs(item_numbers, candidate_numbers)
        false |= keyphrase_numbers[:, None] == candidate_numbers[None, :]
        to_keyphrases = contrastive_loss(self.scale * items @ candidates.T, own, false)
        false = self.known_pairs(item_numbers, keyphrase_numbers).T | (item_numbers[None, :] == item_numbers[:, None])
        to_items = contrastive_loss(self.scale * keyphrases @ items.T, own, false)
        return (to_keyphrases + to_items) / 2
