"""One training of a student: a model, a loss per task, the held-out pairs that decide which checkpoint is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.student.base import base_model
from keydistill.distillation.student.data import POSITIVE_TASKS, Pairs, StudentData, Task
from keydistill.distillation.student.metrics import ndcg_per_group
from keydistill.distillation.student.recipe import StudentRecipe
from keydistill.distillation.student.rotation import rotate
from keydistill.distillation.student.token_table import token_table
from keydistill.distillation.student.towers import embedded, table_of, with_table
from keydistill.distillation.student.weights import learned_tasks, task_weights
from keydistill.encoders import ITEM_ROUTE, KEYPHRASE_ROUTE, ItemText, Prompts, find_model
from keydistill.errors import TrainingError
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from keydistill.distillation.student.trainer import HeldOut
    from keydistill.distillation.training.run import Outcome

# Number of items, and of keyphrases, that decide the principal axes and the scales of int8.
_SAMPLE = 2_048


def starting_model(data: StudentData, recipe: StudentRecipe) -> SentenceTransformer:
    """The model that a training begins with: the base, cut, turned and with a table as the recipe says.

    Raises:
        TrainingError: The base does not fit the recipe.
        StudentError: It cannot be found or loaded.
    """
    texts = _Texts.of(data, recipe)
    model = base_model(recipe)
    if Prompts.of(find_model(recipe.base)):
        model.prompts, model.default_prompt_name = student_prompts(recipe).saved(), None
    if recipe.rotated:
        rotate(model, *texts.sample(_SAMPLE, recipe.seed))
    if recipe.keyphrase_table and table_of(model) is None:
        # Made from the model as it is turned and cut, so that its rows lie in the space of the items.
        model = with_table(model, token_table(model, data.texts))
    return model


def fit_student(
    data: StudentData,
    recipe: StudentRecipe,
    start: Path,
    checkpoints: Path,
    *,
    name: str = "training",
    progress: Progress = NO_PROGRESS,
) -> tuple[SentenceTransformer, Outcome]:
    """Train a model, or go on from the last checkpoint; it ends with the weights of the best one.

    Args:
        data: Pairs per task.
        recipe: Recipe of the training.
        start: Folder of the model that `starting_model` gave.
        checkpoints: Folder for the checkpoints.
        name: Name of this training in `progress`.
        progress: Started with the number of steps that remain, and advanced by 1 after each.

    Raises:
        TrainingError: The training diverges.
    """
    from keydistill.distillation.student.trainer import Trainer

    texts = _Texts.of(data, recipe)
    model = base_model(replace(recipe, base=str(start)))
    tasks, weights = learned_tasks(data, recipe), task_weights(data, recipe)
    trainer = Trainer(
        model,
        {name: _dataset(data, texts, recipe, name, pairs) for name, pairs in tasks.items()},
        {name: _loss(model, data, recipe, name, pairs, weights[name]) for name, pairs in tasks.items()},
        recipe,
        checkpoints=checkpoints,
        held_out=held_out_scores(data, recipe),
        name=name,
        progress=progress,
    )
    outcome = trainer.run()
    _check_finite(model)
    return model, outcome


def student_prompts(recipe: StudentRecipe) -> Prompts:
    """The prompts of the base, which its student keeps; a table of tokens would add the same to every keyphrase.

    Raises:
        StudentError: The base cannot be found, or its prompts are not supported.
    """
    prompts = Prompts.of(find_model(recipe.base))
    return replace(prompts, keyphrase="") if recipe.keyphrase_table else prompts


def sample_texts(data: StudentData, recipe: StudentRecipe) -> list[str]:
    """A sample of some thousand texts that a student reads, items and keyphrases."""
    return [text for texts in _Texts.of(data, recipe).sample(_SAMPLE, recipe.seed) for text in texts]


def _check_finite(model: nn.Module) -> None:
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise TrainingError("the training diverged: weights are not finite; choose a lower learning rate")


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts that the student reads, by number."""

    items: NDArray[np.object_]
    keyphrases: NDArray[np.object_]

    @classmethod
    def of(cls, data: StudentData, recipe: StudentRecipe) -> _Texts:
        """The texts of the data, items by the recipe's template, with the prompts of the base."""
        prompts = student_prompts(recipe)
        items = ItemText(recipe.item_text).render_all(data.titles, data.categories, data.fields)
        return cls(
            np.array(prompts.before_items(items), dtype=object),
            np.array(prompts.before_keyphrases(data.texts), dtype=object),
        )

    def sample(self, count: int, seed: int) -> tuple[list[str], list[str]]:
        """At most `count` items and `count` keyphrases, at random."""
        rng = np.random.default_rng(seed)
        items, keyphrases = (texts[rng.permutation(len(texts))[:count]] for texts in (self.items, self.keyphrases))
        return items.tolist(), keyphrases.tolist()


def _dataset(data: StudentData, texts: _Texts, recipe: StudentRecipe, name: Task, pairs: Pairs) -> Dataset:
    from datasets import Dataset

    negatives = np.empty((len(pairs), 0), dtype=np.int64)
    if name in POSITIVE_TASKS and data.rejected is not None and len(data.rejected):
        # One draw of all pairs after the other: each epoch takes the next one.
        pairs = pairs.chosen(np.tile(np.arange(len(pairs)), recipe.negative_draws))
        negatives = data.hard_negatives(pairs, recipe.hard_negatives, np.random.default_rng(recipe.seed))
    columns: dict[str, Any] = {
        "item": texts.items[pairs.items].tolist(),
        "keyphrase": texts.keyphrases[pairs.keyphrases].tolist(),
    }
    if name in POSITIVE_TASKS:
        for place, column in enumerate(negatives.T):
            columns[f"negative_{place}"] = texts.keyphrases[column].tolist()
        columns["label"] = np.column_stack([pairs.items, pairs.keyphrases, negatives])
    else:
        columns["score"] = pairs.scores
    return Dataset.from_dict(columns)


def _loss(
    model: SentenceTransformer, data: StudentData, recipe: StudentRecipe, name: Task, pairs: Pairs, weight: float
) -> nn.Module:
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    from keydistill.distillation.losses import InBatchLoss, KnownPairs, WeightedLoss, distillation_loss

    if name in POSITIVE_TASKS:
        loss: nn.Module = InBatchLoss(model, KnownPairs(data.known(), len(data.texts)), recipe.scale)
    else:
        # The search engine says an order; how far apart pairs are is for the assistant to say.
        loss_names = {"assistant": recipe.distillation_loss, "judgments": recipe.judgments_loss}
        loss = distillation_loss(loss_names.get(name, "cosent")).new(model, recipe.scale, recipe.temperature)
    full = model.get_embedding_dimension() or 0
    dimensions = sorted({full, *(size for size in recipe.dimensions if size < full)}, reverse=True)
    return WeightedLoss(MatryoshkaLoss(model, loss, dimensions), weight / len(dimensions))


def held_out_scores(data: StudentData, recipe: StudentRecipe) -> HeldOut | None:
    """A function that gives a model's nDCG@10 of each held-out list; None where there is nothing to score by."""
    pairs = data.held_out
    if pairs is None:
        return None
    _, list_of = np.unique(pairs.keyphrases if pairs.listed_by_keyphrase() else pairs.items, return_inverse=True)
    if not len(ndcg_per_group(list_of, pairs.scores, pairs.scores)):
        # Every ranking of these is as good.
        return None
    texts = _Texts.of(data, recipe)
    items, item_of = np.unique(pairs.items, return_inverse=True)
    keyphrases, keyphrase_of = np.unique(pairs.keyphrases, return_inverse=True)
    columns = (texts.items[items].tolist(), ITEM_ROUTE), (texts.keyphrases[keyphrases].tolist(), KEYPHRASE_ROUTE)

    def ndcg(model: SentenceTransformer) -> NDArray[np.float64]:
        """nDCG@10 of the model's ranking of each held-out list, shape (lists,)."""
        vectors = [embedded(model, column, route) for column, route in columns]
        cosines = (vectors[0][item_of] * vectors[1][keyphrase_of]).sum(axis=1)
        return ndcg_per_group(list_of, cosines, pairs.scores, k=10)

    return ndcg
