"""The trainer of sentence-transformers, set up for assistants: batches of similar length, a held-out score."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_model
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from distillation.assistant_data import LabelledPairs
from distillation.assistant_sizes import assistant_size
from distillation.classification import average_precision
from distillation.length_batches import shuffled_length_batches
from distillation.trainer import uses_bf16
from encoders import Assistant, ItemText
from files import replace_json

if TYPE_CHECKING:
    from distillation.train_assistant import AssistantRecipe

_SCORE = "average_precision"
_TIMED_STEPS = 3
_DONE = "done.json"
# Names of the parameters above the base, in the models of transformers.
_HEAD = r"\b(pooler|classifier)\."

logger = logging.getLogger(__name__)


class Fit:
    """One stage of a training; the model is changed in place.

    Args:
        model: A cross-encoder with one output.
        pairs: To learn from.
        recipe: How.
        epochs: Passes over the pairs.
        folder: Of the checkpoints; with one in it the training goes on from there, and a stage that was finished is not
            done again.
        held_out: With these the score is taken after each epoch, training stops early, and the model ends with the best
            weights; without, it ends with the last.
        progress: Called with 1 after each step.
        on_start: Called with the number of steps that are left.
    """

    def __init__(
        self,
        model: CrossEncoder,
        pairs: LabelledPairs,
        recipe: AssistantRecipe,
        *,
        epochs: float,
        folder: Path,
        held_out: LabelledPairs | None = None,
        progress: Callable[[int], None] | None = None,
        on_start: Callable[[int], None] | None = None,
    ) -> None:
        item_text = ItemText(recipe.item_text)
        bf16 = uses_bf16(recipe.precision)
        # After each epoch, or as often as there are begun ones, and after the last step.
        evaluations = max(1, math.ceil(epochs))
        every = max(1, round(math.ceil(len(pairs) / recipe.batch_size) * epochs / evaluations))
        steps = every * evaluations
        chosen = "steps" if held_out is not None else "no"
        self._model = model
        self._folder = folder
        self._trainer = CrossEncoderTrainer(
            model=model,
            args=CrossEncoderTrainingArguments(
                output_dir=str(folder),
                max_steps=steps,
                per_device_train_batch_size=recipe.batch_size,
                learning_rate=recipe.learning_rate or assistant_size(recipe.size).learning_rate,
                learning_rate_mapping={_HEAD: recipe.head_learning_rate},
                warmup_steps=0.1,
                weight_decay=recipe.weight_decay,
                lr_scheduler_type="linear",
                seed=recipe.seed,
                data_seed=recipe.seed,
                bf16=bf16,
                use_cpu=not torch.cuda.is_available(),
                batch_sampler=_LengthBatchSampler,
                eval_strategy=chosen,
                eval_steps=every,
                save_strategy="steps",
                save_steps=every,
                save_total_limit=2,
                # How many epochs without a better score there were.
                restore_callback_states_from_checkpoint=True,
                load_best_model_at_end=held_out is not None,
                metric_for_best_model=_SCORE if held_out is not None else None,
                greater_is_better=True if held_out is not None else None,
                logging_steps=max(1, steps // 50),
                disable_tqdm=True,
                report_to="none",
                dataloader_pin_memory=torch.cuda.is_available(),
            ),
            train_dataset=Dataset.from_dict(
                {
                    "item": item_text.render_all(pairs.titles, pairs.categories),
                    "keyphrase": list(pairs.keyphrases),
                    "label": pairs.targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2,
                }
            ),
            loss=BinaryCrossEntropyLoss(model),
            evaluator=None if held_out is None else _HeldOut(held_out, item_text, bf16),
            callbacks=[
                _Callback(progress, on_start),
                *([EarlyStoppingCallback(recipe.patience)] if held_out is not None else []),
            ],
        )
        # It prints every log line, on stdout.
        self._trainer.remove_callback(PrinterCallback)

    def run(self) -> list[dict[str, float]]:
        """Train, from the last whole checkpoint if there is one; returns what was logged."""
        done = self._folder / _DONE
        if done.is_file():
            outcome = json.loads(done.read_text(encoding="utf-8"))
            transformer = self._model.model
            assert transformer is not None
            load_model(transformer, self._folder / outcome["checkpoint"] / "model.safetensors")
        else:
            self._trainer.train(resume_from_checkpoint=_last_checkpoint(self._folder))
            state = self._trainer.state
            kept = Path(state.best_model_checkpoint).name if state.best_model_checkpoint else None
            outcome = {"checkpoint": kept or f"checkpoint-{state.global_step}", "history": _history(state.log_history)}
            replace_json(done, outcome)
        history: list[dict[str, float]] = outcome["history"]
        return history


def _history(log: list[dict[str, float]]) -> list[dict[str, float]]:
    names = {"step": "step", "epoch": "epoch", "loss": "loss", "learning_rate": "learning_rate"}
    names[f"eval_{_SCORE}"] = _SCORE
    entries = [{names[name]: value for name, value in entry.items() if name in names} for entry in log]
    return [entry for entry in entries if "loss" in entry or _SCORE in entry]


def seconds_per_step(
    model: CrossEncoder, pairs: LabelledPairs, item_text: ItemText, batch_size: int, bf16: bool
) -> float:
    """How long a training step takes here, measured on some of the pairs; the model's weights stay as they are."""
    loss = BinaryCrossEntropyLoss(model)
    model.train()
    took = []
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
        took.append(time.perf_counter() - began)
    model.zero_grad()
    # The first one pays for what is allocated and compiled once.
    return float(np.median(took[1:]))


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole; those that a killed process left half written are removed."""
    whole: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            # The trainer writes it last.
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            whole.append((int(checkpoint.name.partition("-")[2]), checkpoint))
    return str(max(whole)[1]) if whole else None


class _HeldOut(BaseEvaluator):
    """Average precision on held-out pairs."""

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


class _Callback(TrainerCallback):
    def __init__(self, progress: Callable[[int], None] | None, on_start: Callable[[int], None] | None) -> None:
        self._progress = progress
        self._on_start = on_start

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._on_start is not None:
            self._on_start(state.max_steps - state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress is not None:
            self._progress(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        logger.info("step %d: %s", state.global_step, logs)


class _LengthBatchSampler(DefaultBatchSampler):
    """`shuffled_length_batches`, in another order each epoch."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, seed: int, **_: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, seed=seed)
        # Characters say it well enough.
        self._lengths = np.array([len(pair["item"]) + len(pair["keyphrase"]) for pair in dataset])

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        for batch in shuffled_length_batches(self._lengths, self.batch_size, rng):
            yield batch.tolist()
