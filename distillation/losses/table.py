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
    """

    name: str
    module: str
    class_name: str
    description: str
    scaled: bool = False

    def load(self) -> type[nn.Module]:
        """The class; importing it imports torch."""
        loss_class: type[nn.Module] = getattr(import_module(f"{__package__}.{self.module}"), self.class_name)
        return loss_class

    def new(self, model: nn.Module, scale: float) -> nn.Module:
        """The loss of a model; `scale` is left out where the class does not take it."""
        return self.load()(model, scale) if self.scaled else self.load()(model)


DISTILLATION_LOSSES = (
    DistillationLoss("pearson", "pearson", "PearsonLoss", "cosines rise linearly with the scores"),
    DistillationLoss("margin_mse", "margin_mse", "MarginMSELoss", "an item's cosines differ as its scores do"),
    DistillationLoss("cosent", "cosent", "CoSENTLoss", "cosines have the order of the scores", scaled=True),
    DistillationLoss("kl", "kl", "KLLoss", "an item's cosines are distributed as its scores are", scaled=True),
)
LOSS_NAMES = tuple(loss.name for loss in DISTILLATION_LOSSES)

# Type checkers cannot follow a table; pydantic and recipes hold the names to it.
if TYPE_CHECKING:
    LossName = str
else:
    LossName = Literal[LOSS_NAMES]


def distillation_loss(name: str) -> DistillationLoss:
    """The loss of that name.

    Raises:
        TrainingError: There is none.

    >>> distillation_loss("kl").class_name
    'KLLoss'
    """
    for loss in DISTILLATION_LOSSES:
        if loss.name == name:
            return loss
    raise TrainingError(f"distillation_loss is {name}; expected {' or '.join(LOSS_NAMES)}")
