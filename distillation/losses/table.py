"""The losses that a student can learn the assistant's scores with, by name: what recipes and commands choose from.

A loss of your own is a file in this folder and a line in the table below. The table is read without torch, as commands
print their help; a loss's class is imported when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class DistillationLoss:
    """A loss for (item, keyphrase) pairs that are labelled with the assistant's scores.

    Attributes:
        name: Its name in recipes and commands.
        module: The module of this folder that has its class.
        class_name: The class, made from a model and, where `scaled`, the factor by which cosines are multiplied.
        description: Description in help texts of what it asks of the student.
        scaled: Whether its class takes such a factor (an inverse temperature).
        tempered: Whether its class takes a temperature, by which both distributions are made flatter.
    """

    name: str
    module: str
    class_name: str
    description: str
    scaled: bool = False
    tempered: bool = False

    def load(self) -> type[nn.Module]:
        """The class; importing it imports torch."""
        loss_class: type[nn.Module] = getattr(import_module(f"{__package__}.{self.module}"), self.class_name)
        return loss_class

    def new(self, model: nn.Module, scale: float, temperature: float = 1.0) -> nn.Module:
        """The loss of a model; `scale` and `temperature` are left out where the class does not take them."""
        options = ({"scale": scale} if self.scaled else {}) | ({"temperature": temperature} if self.tempered else {})
        return self.load()(model, **options)


DISTILLATION_LOSSES = (
    DistillationLoss("pearson", "pearson", "PearsonLoss", "cosines rise linearly with the scores"),
    DistillationLoss("margin_mse", "margin_mse", "MarginMSELoss", "an item's cosines differ as its scores do"),
    DistillationLoss("cosent", "cosent", "CoSENTLoss", "cosines have the order of the scores", scaled=True),
    DistillationLoss("kl", "kl", "KLLoss", "an item's cosines are distributed as its scores are", True, True),
    DistillationLoss(
        "listnet",
        "listnet",
        "ListNetLoss",
        "cosines of an item's keyphrases and of a keyphrase's items are distributed as their scores are",
        scaled=True,
        tempered=True,
    ),
    DistillationLoss(
        "margin_rank",
        "margin_rank",
        "MarginRankLoss",
        "of two keyphrases of an item or items of a keyphrase the one with the higher score has the higher cosine, and "
        "the more so the higher it is",
        scaled=True,
    ),
)
LOSS_NAMES = tuple(loss.name for loss in DISTILLATION_LOSSES)

# Type checkers cannot follow a table; pydantic and recipes hold the names to it.
if TYPE_CHECKING:
    LossName = str
else:
    LossName = Literal[LOSS_NAMES]


def distillation_loss(name: str, choice: str = "distillation_loss") -> DistillationLoss:
    """The loss of that name.

    Args:
        name: Name of the loss.
        choice: What it was chosen for, as an error names it.

    Raises:
        TrainingError: There is none.

    >>> distillation_loss("kl").class_name
    'KLLoss'
    """
    for loss in DISTILLATION_LOSSES:
        if loss.name == name:
            return loss
    raise TrainingError(f"{choice} is {name}; expected {' or '.join(LOSS_NAMES)}")
