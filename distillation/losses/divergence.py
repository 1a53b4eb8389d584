"""KL divergence of two distributions over each of several lists in a batch."""

from torch import Tensor
from torch.nn import functional


def row_divergences(student: Tensor, label: Tensor, same: Tensor) -> Tensor:
    """KL divergence from the labels' softmax distribution to the student's, list by list.

    Args:
        student: Logits, shape (b,).
        label: Logits, shape (b,).
        same: Whether a pair belongs to a list, shape (lists, b).

    Returns:
        Shape (lists,), 0 where the two agree up to a constant.
    """
    # What belongs to others gets no weight.
    log_student, log_label = (
        functional.log_softmax(logits[None, :].masked_fill(~same, -1e9), dim=1) for logits in (student, label)
    )
    return (log_label.exp() * (log_label - log_student)).masked_fill(~same, 0).sum(dim=1)
