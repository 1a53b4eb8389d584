"""The trainer of sentence-transformers for students: grouped batches, a held-out score."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback

from keydistill.distillation.student.batches import grouped_batches
from keydistill.distillation.student.data import listed_by_keyphrase
from keydistill.distillation.student.metrics import favouring_later
from keydistill.distillation.student.towers import TABLE_PARAMETERS, table_of
from keydistill.distillation.training.run import Outcome, Steps, WithoutCards, common_arguments, run_training
from keydistill.encoders import ITEM_ROUTE, KEYPHRASE_ROUTE
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from keydistill.distillation.student.recipe import StudentRecipe

# Most keyphrases of one item, or items of one keyphrase, that stand together in a batch of scored pairs.
_PER_ITEM = 8
_SCORE = "held_out_ndcg"
# Name of the figure that decides which checkpoint is kept.
_WORTH = "held_out_worth"

# A function that gives a model's score of each held-out item, shape (items,).
HeldOut = Callable[[SentenceTransformer], NDArray[np.float64]]


class Trainer:
    """One training of a model on several datasets, each with its loss; the model is changed in place."""

    def __init__(
        self,
        model: SentenceTransformer,
        datasets: Mapping[str, Dataset],
        losses: Mapping[str, nn.Module],
        recipe: StudentRecipe,
        *,
        checkpoints: Path,
        held_out: HeldOut | None = None,
        name: str = "training",
        progress: Progress = NO_PROGRESS,
    ) -> None:
        draws = recipe.negative_draws
        batches = sum(
            math.ceil(len(dataset) / draws_of(dataset, draws) / recipe.batch_size) for dataset in datasets.values()
        )
        steps = max(1, round(batches * recipe.total_epochs))
        every = max(1, steps // recipe.evaluations)
        named: dict[str, nn.Module] = {name: _Named(loss, name) for name, loss in losses.items()}
        self._checkpoints = checkpoints
        self._trainer = _Trainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                **common_arguments(
                    checkpoints,
                    steps=steps,
                    every=every,
                    score=_WORTH if held_out else None,
                    seed=recipe.seed,
                    precision=recipe.precision,
                ),
                per_device_train_batch_size=recipe.batch_size,
                learning_rate=recipe.peak_learning_rate,
                weight_decay=0.01,
                batch_sampler=partial(_batch_sampler, draws=draws),
                **({} if table_of(model) is None else _for_two_sides(datasets, recipe.table_learning_rate)),
            ),
            train_dataset=dict(datasets),
            loss=named,
            evaluator=None if held_out is None else _HeldOut(held_out, steps),
            callbacks=[Steps(name, progress), *([EarlyStoppingCallback(recipe.patience)] if held_out else [])],
        )
        # This callback prints what is logged; progress is reported otherwise.
        self._trainer.remove_callback(PrinterCallback)

    def run(self) -> Outcome:
        """Train, or go on; the model ends with the weights of the best checkpoint, whose score the outcome has."""
        outcome = run_training(self._trainer, self._checkpoints)
        scores = {
            entry[f"eval_{_WORTH}"]: entry[f"eval_{_SCORE}"] for entry in outcome.log if f"eval_{_WORTH}" in entry
        }
        best_score = None if outcome.best_score is None else scores[outcome.best_score]
        logged_names = ("step", "learning_rate", "grad_norm", "loss", f"eval_{_SCORE}")
        history = [
            {
                name.removeprefix("eval_"): value
                for name, value in entry.items()
                if name in logged_names or name.endswith("_loss")
            }
            for entry in outcome.log
        ]
        return replace(outcome, best_score=best_score, log=[entry for entry in history if len(entry) > 1])


def _for_two_sides(datasets: Mapping[str, Dataset], table_learning_rate: float) -> dict[str, Any]:
    """Arguments that an asymmetric model needs: which side reads a column, and how fast the table learns."""
    columns = {column for dataset in datasets.values() for column in dataset.column_names} - {"label", "score"}
    return {
        "router_mapping": {column: ITEM_ROUTE if column == "item" else KEYPHRASE_ROUTE for column in sorted(columns)},
        "learning_rate_mapping": {TABLE_PARAMETERS: table_learning_rate},
    }


class _Trainer(WithoutCards, SentenceTransformerTrainer):
    pass


class _Named(nn.Module):
    """A loss with a name, so that the trainer logs it apart from those of the other tasks."""

    def __init__(self, loss: nn.Module, name: str) -> None:
        super().__init__()
        self.loss = loss
        self.name = f"{name}_loss"

    def forward(self, sentence_features: Any, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {self.name: self.loss(sentence_features, labels)}


class _HeldOut(SentenceEvaluator):
    """The held-out score as an evaluator, and what it makes the checkpoint worth."""

    def __init__(self, score: HeldOut, steps: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = _SCORE
        self._score = score
        self._total_steps = steps

    def __call__(self, model: Any, *_: Any, steps: int = -1, **__: Any) -> dict[str, float]:
        scores = self._score(model)
        return {
            _SCORE: float(scores.mean()),
            _WORTH: favouring_later(scores, min(1.0, max(0, steps) / self._total_steps)),
        }


def draws_of(dataset: Dataset, draws: int) -> int:
    """The number of draws of hard negatives that a dataset has, each of them all its pairs once."""
    return draws if any(name.startswith("negative_") for name in dataset.column_names) else 1


class _GroupedBatchSampler(DefaultBatchSampler):
    """A sampler of `grouped_batches` of a dataset, in another order and of another draw of negatives each epoch."""

    def __init__(
        self, dataset: Dataset, batch_size: int, drop_last: bool, seed: int, per_group: int, draws: int, **_: Any
    ) -> None:
        self._draws = draws_of(dataset, draws)
        self._rows = len(dataset) // self._draws
        super().__init__(range(self._rows), batch_size=batch_size, drop_last=drop_last, seed=seed)
        self._groups = _lists(dataset, self._rows)
        self._per_group = per_group

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        first = self._rows * (self.epoch % self._draws)
        for batch in grouped_batches(self._groups, self.batch_size, self._per_group, rng):
            yield (first + batch).tolist()


def _lists(dataset: Dataset, rows: int) -> list[int]:
    """A number for the list of each pair: that of its item, or of its keyphrase where scored ones have longer lists."""
    texts = dataset["item"][:rows]
    if "score" in dataset.column_names:
        keyphrases = dataset["keyphrase"][:rows]
        texts = keyphrases if listed_by_keyphrase(texts, keyphrases) else texts
    numbers: dict[str, int] = {}
    return [numbers.setdefault(text, len(numbers)) for text in texts]


def _batch_sampler(dataset: Dataset, *, draws: int, **options: Any) -> DefaultBatchSampler:
    # Positives in any order: another keyphrase of an item is masked in a batch, and teaches nothing there.
    per_group = _PER_ITEM if "score" in dataset.column_names else 1
    return _GroupedBatchSampler(dataset, per_group=per_group, draws=draws, **options)
