"""The trainer of sentence-transformers, set up for assistants: batches of similar length, a held-out score."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import EarlyStoppingCallback, PrinterCallback

from keydistill.distillation.assistant.batches import length_batches
from keydistill.distillation.assistant.data import LabelledPairs
from keydistill.distillation.assistant.metrics import average_precision
from keydistill.distillation.shapes import assistant_size
from keydistill.distillation.training.run import Steps, WithoutCards, common_arguments, run_training, uses_bf16
from keydistill.encoders import Assistant, ItemText
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from keydistill.distillation.assistant.recipe import AssistantRecipe

_SCORE = "average_precision"
_TIMED_STEPS = 3
# Names of the parameters above the base, in the models of transformers.
_HEAD = r"\b(pooler|classifier)\."


class Trainer:
    """One stage of a training; the model is changed in place.

    Args:
        model: Cross-encoder with one output.
        pairs: Pairs to learn from.
        recipe: Recipe of the training.
        epochs: Passes over the pairs.
        checkpoints: Folder of the checkpoints; with one in it the training goes on from there, and a stage that was
            finished is not done again.
        held_out: Pairs to measure on after each epoch, by which training stops early and the model ends with the best
            weights; without them it ends with the last weights.
        name: Name of this training in `progress`.
        progress: Started with the number of steps that remain, and advanced by 1 after each.
    """

    def __init__(
        self,
        model: CrossEncoder,
        pairs: LabelledPairs,
        recipe: AssistantRecipe,
        *,
        epochs: float,
        checkpoints: Path,
        held_out: LabelledPairs | None = None,
        name: str = "training",
        progress: Progress = NO_PROGRESS,
    ) -> None:
        item_text = ItemText(recipe.item_text)
        # As many as there are epochs, a begun one included, evenly spread; the last one comes after the last step.
        evaluations = max(1, math.ceil(epochs))
        every = max(1, round(math.ceil(len(pairs) / recipe.batch_size) * epochs / evaluations))
        steps = every * evaluations
        self._checkpoints = checkpoints
        self._trainer = _Trainer(
            model=model,
            args=CrossEncoderTrainingArguments(
                **common_arguments(
                    checkpoints,
                    steps=steps,
                    every=every,
                    score=None if held_out is None else _SCORE,
                    seed=recipe.seed,
                    precision=recipe.precision,
                ),
                per_device_train_batch_size=recipe.batch_size,
                learning_rate=recipe.learning_rate or assistant_size(recipe.size).learning_rate,
                learning_rate_mapping={_HEAD: recipe.head_learning_rate},
                weight_decay=recipe.weight_decay,
                batch_sampler=_LengthBatchSampler,
            ),
            train_dataset=Dataset.from_dict(
                {
                    "item": item_text.render_all(pairs.titles, pairs.categories),
                    "keyphrase": list(pairs.keyphrases),
                    "label": pairs.targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2,
                }
            ),
            loss=BinaryCrossEntropyLoss(model),
            evaluator=None if held_out is None else _HeldOut(held_out, item_text, uses_bf16(recipe.precision)),
            callbacks=[
                Steps(name, progress),
                *([EarlyStoppingCallback(recipe.patience)] if held_out is not None else []),
            ],
        )
        # It prints every log line, on stdout.
        self._trainer.remove_callback(PrinterCallback)

    def run(self) -> list[dict[str, float]]:
        """Train, or go on, until the model has the weights of the best checkpoint; returns what was logged."""
        return _history(run_training(self._trainer, self._checkpoints).log)


class _Trainer(WithoutCards, CrossEncoderTrainer):
    pass


def _history(log: list[dict[str, float]]) -> list[dict[str, float]]:
    names = {"step": "step", "epoch": "epoch", "loss": "loss", "learning_rate": "learning_rate"}
    names[f"eval_{_SCORE}"] = _SCORE
    entries = [{names[name]: value for name, value in entry.items() if name in names} for entry in log]
    return [entry for entry in entries if "loss" in entry or _SCORE in entry]


def seconds_per_step(
    model: CrossEncoder, pairs: LabelledPairs, item_text: ItemText, batch_size: int, bf16: bool
) -> float:
    """The duration of a training step here, measured on some of the pairs; the model's weights stay as they are."""
    loss = BinaryCrossEntropyLoss(model)
    model.train()
    seconds = []
    rng = np.random.default_rng(0)
    for _ in range(_TIMED_STEPS + 1):
        part = pairs.take(rng.permutation(len(pairs))[:batch_size])
        began = time.perf_counter()
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            value = loss(
                [item_text.render_all(part.titles, part.categories), list(part.keyphrases)],
                torch.from_numpy(part.targets).to(model.device),
            )
        value.backward()
        seconds.append(time.perf_counter() - began)
    model.zero_grad()
    # The first one pays for what is allocated and compiled once.
    return float(np.median(seconds[1:]))


class _HeldOut(BaseEvaluator):
    """The average precision on held-out pairs, as an evaluator."""

    def __init__(self, pairs: LabelledPairs, item_text: ItemText, bf16: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = _SCORE
        self._pairs = pairs
        self._item_text = item_text
        self._bf16 = bf16

    def __call__(self, model: Any, *_: Any, **__: Any) -> dict[str, float]:
        pairs = self._pairs
        assistant = Assistant("", "in training", model, item_text=self._item_text, bf16=self._bf16)
        logits = assistant.logits(pairs.titles, pairs.keyphrases, pairs.categories)
        return {_SCORE: average_precision(logits, pairs.labels)}


class _LengthBatchSampler(DefaultBatchSampler):
    """A sampler of `length_batches`, in another order each epoch."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, seed: int, **_: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, seed=seed)
        # Lengths in characters are near enough to those in tokens.
        self._lengths = np.array([len(pair["item"]) + len(pair["keyphrase"]) for pair in dataset])

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        for batch in length_batches(self._lengths, self.batch_size, rng):
            yield batch.tolist()
