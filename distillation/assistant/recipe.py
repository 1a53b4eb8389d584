"""The recipe of an assistant's training: everything that is chosen, and the check of these choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keydistill.distillation.assistant.data import GroupBy
from keydistill.distillation.shapes import assistant_size
from keydistill.encoders import ItemText
from keydistill.errors import TrainingError


@dataclass(frozen=True, slots=True)
class AssistantRecipe:
    """The recipe of an assistant's training.

    Attributes:
        size: Name of its size (`keydistill.distillation.ASSISTANT_SIZES`).
        base: Folder or name of the sentence-transformers model that training starts from: its weights, or its tokenizer
            only, as the size says.
        layers: Transformer layers instead of the size's.
        item_text: Template of the text that stands for an item (`keydistill.encoders.ItemText`).
        max_length: Most tokens of a pair; a longer one loses the end of its item.
        epochs: Most passes over the training pairs.
        patience: Epochs without a better average precision on held-out pairs after which training stops.
        warm_up_epochs: Passes over the warm-up pairs.
        batch_size: Pairs per step.
        learning_rate: Peak learning rate, reached after a tenth of the steps; then it falls to 0 linearly. None is the
            size's.
        head_learning_rate: Peak learning rate of the layers above the base, which begin at random.
        weight_decay: Weight decay of AdamW.
        dropout: Dropout of all layers. Soft labels need none, and drawing the masks takes a seventh of a step on CPU.
        frozen_embeddings: Whether pretrained word embeddings stay as they are: most words occur in no training.
        label_smoothing: Share by which targets are drawn towards 0.5.
        held_out: Share of pairs to hold out, where there is one split: they are measured on and not learned.
        folds: Number of folds of a cross-fitting: so many models are trained, each on all folds but one, which it is
            measured on, and then the assistant on all pairs, for the epochs that were best. 1 is one split without
            cross-fitting; 0 leaves it to the number of keyphrases (`keydistill.distillation.assistant.members`); None
            is 0 in a retrain on judged lists of items, where they decide what is learned, and otherwise 1.
        split_by: What a held-out pair shares with no training pair.
        seed: Seed of everything random.
        precision: "auto" is bf16 where the machine is faster in it, else fp32.
    """

    size: str = "minilm-6"
    base: str = "sentence-transformers/all-MiniLM-L6-v2"
    layers: int | None = None
    item_text: str = "{leaf}: {title}"
    max_length: int = 128
    epochs: float = 2.0
    patience: int = 2
    warm_up_epochs: float = 1.0
    batch_size: int = 32
    learning_rate: float | None = None
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.0
    frozen_embeddings: bool = True
    label_smoothing: float = 0.0
    held_out: float = 0.1
    folds: int | None = None
    split_by: GroupBy = "keyphrase"
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @property
    def chosen_folds(self) -> int:
        """The folds, where nobody knows better than one split."""
        return 1 if self.folds is None else self.folds

    def __post_init__(self) -> None:
        """Refuse choices that no training can follow.

        Raises:
            TrainingError: One is out of its range; or the size is unknown.
            StudentError: The template is malformed.
        """
        assistant_size(self.size)
        further = ItemText(self.item_text).free_fields
        if further:
            raise TrainingError(
                f"the assistant's item text {self.item_text!r} has the fields {', '.join(further)}; it reads title and "
                "category alone: expected {title}, and if wanted {leaf} or {path}"
            )
        for name, fits, expected in (
            ("epochs", self.epochs > 0, "above 0"),
            ("warm_up_epochs", self.warm_up_epochs >= 0, "from 0 up"),
            ("head_learning_rate", self.head_learning_rate > 0, "above 0"),
            ("dropout", 0 <= self.dropout < 1, "from 0 up, below 1"),
            ("batch_size", self.batch_size >= 1, "from 1 up"),
            ("patience", self.patience >= 1, "from 1 up"),
            ("max_length", self.max_length >= 8, "from 8 up"),
            ("learning_rate", self.learning_rate is None or self.learning_rate > 0, "above 0"),
            ("label_smoothing", 0 <= self.label_smoothing <= 1, "from 0 to 1"),
            ("folds", self.folds is None or self.folds >= 0, "from 0 up"),
            ("held_out", 0 < self.held_out < 1, "between 0 and 1"),
        ):
            if not fits:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected a number {expected}")
