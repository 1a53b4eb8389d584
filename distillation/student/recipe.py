"""The recipe of a student's training: everything that is chosen, and the check of these choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from keydistill.distillation.losses import LossName, distillation_loss
from keydistill.distillation.shapes import ShapeName, student_shape
from keydistill.distillation.student.data import Task
from keydistill.encoders import ItemText
from keydistill.errors import TrainingError

# A student of so many layers or fewer has further to go, and learns faster.
_FEW_LAYERS = 3


def default_weights(*, graded: bool) -> dict[Task, float | None]:
    """The weight of each task's loss where none is chosen; None leaves it to the data.

    Args:
        graded: Whether a loss for judgments was named: who names one wants them learned, whatever the data say.
    """
    return {
        "clicks": 1.0,
        "judged_yes": 1.0,
        "search_relevance": 0.1,
        "judgments": 1.0 if graded else None,
        "assistant": None,
        "approved": 1.0,
    }


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """The recipe of a student's training.

    Attributes:
        base: Folder or name of the model that training starts from.
        shape: Name of the student's shape (`keydistill.distillation.STUDENT_SHAPES`).
        layers: Transformer layers to keep, evenly spread over those of the base; None leaves it to the shape, and
            keeps them all where the shape does not say.
        item_text: Template of the text that stands for an item (`keydistill.encoders.ItemText`).
        dimensions: Matryoshka dimensions that are trained, the greatest first; those above the base's are left out.
        distillation_loss: Name of the loss for the assistant's scores (`keydistill.distillation.losses`).
        judgments_loss: Name of the loss for judgments and grades that are learned directly.
        temperature: Divisor of the logits of both sides in losses that compare distributions.
        weights: Weight of each task's loss; None leaves it to the data (`keydistill.distillation.student.weights`), and
            a task that is not named is left out.
        clicks_share: Share that a second student, which learned from clicks alone (without any, from what was judged
            relevant), has in the weights, where there is more to learn from; 0 trains no second one. Between the two
            lie students that are often better than either (`keydistill.distillation.student.averaging`).
        epochs: Passes over all pairs; None leaves it to the shape.
        batch_size: Pairs per step.
        learning_rate: Peak learning rate, reached after a tenth of the steps; then it falls to 0 linearly. None is
            1e-4, and 2e-4 for three layers or fewer, which have further to go.
        table_learning_rate: Peak learning rate of a table of token vectors: a row has a gradient only in the steps
            whose batches have its token, and there are no layers above it to wait for.
        scale: Inverse temperature of in-batch negatives and rankings.
        hard_negatives: Keyphrases per positive pair, besides those of the batch, that the assistant rejects for its
            item; they are drawn again for each epoch. They were measured to teach nothing that its scores do not
            (docs/retrain.md, "What was tried and did not help").
        rotated: Whether vectors are turned onto their principal axes before training
            (`keydistill.distillation.student.rotation`): it changes no cosine, and the first dimensions hold most of
            what the vectors say.
        dropout: Dropout of the base's layers. Learning from scores needs none, and drawing the masks takes a seventh
            of a step on CPU.
        frozen_embeddings: Whether the word embeddings stay as they are: half of the parameters, most of whose words a
            training never sees; without their gradients a step is a tenth shorter.
        int8: Whether the weights of linear layers are rounded at the end, so that the student can be computed in int8
            (`keydistill.distillation.student.rounding`). A student with a table is left as it is: a table is looked
            up, not computed.
        seed: Seed of everything random.
        seeds: Number of trainings of all tasks, with this seed and those that follow it, whose weights are averaged.
        patience: Evaluations without a better held-out score after which training stops.
        evaluations: Number of times that the held-out score is taken, over the whole training.
        precision: "auto" is bf16 where the machine is faster in it, else fp32.
    """

    base: str = "sentence-transformers/all-MiniLM-L6-v2"
    shape: ShapeName = "six"
    layers: int | None = None
    item_text: str = "{leaf}: {title}"
    dimensions: tuple[int, ...] = (384, 256, 128, 64)
    distillation_loss: LossName = "pearson"
    judgments_loss: LossName = "cosent"
    temperature: float = 1.0
    weights: Mapping[Task, float | None] = field(default_factory=lambda: default_weights(graded=False))
    clicks_share: float = 0.3
    epochs: float | None = None
    batch_size: int = 64
    learning_rate: float | None = None
    table_learning_rate: float = 5e-4
    scale: float = 20.0
    hard_negatives: int = 0
    rotated: bool = True
    dropout: float = 0.0
    frozen_embeddings: bool = True
    int8: bool = True
    seed: int = 0
    seeds: int = 1
    patience: int = 3
    evaluations: int = 4
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        """Refuse choices that no training can follow.

        Raises:
            TrainingError: One is out of its range, or unknown.
            StudentError: The template is malformed.
        """
        ItemText(self.item_text)
        distillation_loss(self.distillation_loss)
        distillation_loss(self.judgments_loss, "judgments_loss")
        shape = student_shape(self.shape)
        for name, fits, expected in (
            ("layers", self.layers is None or self.layers >= 1, "a number from 1 up, or None for all"),
            (
                "layers",
                shape.layers is None or self.layers in (None, shape.layers),
                f"{shape.layers}, or none given, with shape {shape.name}",
            ),
            ("dimensions", all(size >= 1 for size in self.dimensions), "numbers from 1 up"),
            (
                "weights",
                all(
                    task in get_args(Task) and (weight is None or 0 <= weight < math.inf)
                    for task, weight in self.weights.items()
                ),
                f"numbers from 0 up for {', '.join(get_args(Task))}",
            ),
            ("clicks_share", 0 <= self.clicks_share < 1, "a number from 0 up, below 1"),
            ("epochs", self.epochs is None or 0 < self.epochs < math.inf, "a number above 0"),
            ("batch_size", self.batch_size >= 1, "a number from 1 up"),
            ("learning_rate", self.learning_rate is None or 0 < self.learning_rate < math.inf, "a number above 0"),
            ("table_learning_rate", 0 < self.table_learning_rate < math.inf, "a number above 0"),
            ("temperature", 0 < self.temperature < math.inf, "a number above 0"),
            ("scale", 0 < self.scale < math.inf, "a number above 0"),
            ("hard_negatives", self.hard_negatives >= 0, "a number from 0 up"),
            ("seeds", self.seeds >= 1, "a number from 1 up"),
            ("dropout", 0 <= self.dropout < 1, "a number from 0 up, below 1"),
            ("patience", self.patience >= 1, "a number from 1 up"),
            ("evaluations", self.evaluations >= 1, "a number from 1 up"),
            ("precision", self.precision in ("auto", "fp32", "bf16"), "auto, fp32 or bf16"),
        ):
            if not fits:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected {expected}")

    @property
    def kept_layers(self) -> int | None:
        """Transformer layers to keep; None keeps them all."""
        return student_shape(self.shape).layers or self.layers

    @property
    def keyphrase_table(self) -> bool:
        """Whether the student reads keyphrases with a table of token vectors."""
        return student_shape(self.shape).keyphrase_table

    @property
    def total_epochs(self) -> float:
        """Passes over all pairs: as many as were chosen, or as the shape needs."""
        return student_shape(self.shape).epochs if self.epochs is None else self.epochs

    @property
    def further_seeds(self) -> range:
        """The seeds of the trainings after the first one."""
        return range(self.seed + 1, self.seed + self.seeds)

    @property
    def negative_draws(self) -> int:
        """Draws of hard negatives: one for each epoch, a begun one included."""
        return math.ceil(self.total_epochs) if self.hard_negatives else 1

    @property
    def peak_learning_rate(self) -> float:
        """The peak learning rate that was chosen, or the one for so many layers."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.kept_layers is not None and self.kept_layers <= _FEW_LAYERS else 1e-4
