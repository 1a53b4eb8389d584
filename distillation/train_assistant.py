"""Trains an assistant: a cross-encoder that learns the judge's verdicts, and is calibrated on held-out ones.

Source: arXiv 2508.03628, the cross-encoder assistant between LLM judge and bi-encoder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distillation.assistant_data import GroupBy, LabelledPairs, Split, split
from distillation.assistant_sizes import assistant_size, new_assistant
from distillation.calibration import fit_calibration
from distillation.classification import AssistantMetrics, measure
from distillation.work_folder import work_folder
from encoders import Assistant, Calibration, ItemText, write_model_file
from errors import TrainingError
from files import sync

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

OnStart = Callable[[str, int], None]
Progress = Callable[[int], None]

METRICS_FILE = "metrics.json"


@dataclass(frozen=True, slots=True)
class AssistantRecipe:
    """How an assistant is trained.

    Attributes:
        size: Name of its size (`distillation.assistant_sizes`).
        base: Folder or name of a sentence-transformers model: its weights, or its tokenizer only, as the size says.
        layers: Transformer layers instead of the size's.
        item_text: Template of what it reads of an item (`encoders.ItemText`).
        max_length: Tokens of a pair; of a longer one, the end of the item goes.
        epochs: Passes over the training pairs at the most.
        patience: Epochs without a better average precision on held-out pairs after which training stops.
        warm_up_epochs: Passes over the warm-up pairs.
        batch_size: Pairs per step.
        learning_rate: At its peak, after a tenth of the steps; then it falls to 0 linearly. None is the size's.
        head_learning_rate: Of the layers above the base, which begin at random.
        weight_decay: Of AdamW.
        dropout: Of all layers. Soft labels need none, and drawing the masks takes a seventh of a step on CPU.
        frozen_embeddings: Whether pretrained word embeddings stay as they are: most words occur in no training.
        label_smoothing: Share by which targets are drawn towards 0.5.
        held_out: Share of the pairs that is measured on and not learned.
        split_by: What training and held-out pairs have not in common.
        seed: Of everything that is random.
        precision: "auto" is bf16 where the machine has it, else fp32.
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
    split_by: GroupBy = "keyphrase"
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        """Refuse choices that no training can follow.

        Raises:
            TrainingError: One is out of its range; or the size is unknown.
            StudentError: The template is malformed.
        """
        assistant_size(self.size)
        ItemText(self.item_text)
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
            ("held_out", 0 < self.held_out < 1, "between 0 and 1"),
        ):
            if not fits:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected a number {expected}")


@dataclass(frozen=True, slots=True)
class TrainedAssistant:
    """What a training gave.

    Attributes:
        folder: Of the assistant.
        pairs: Training pairs.
        metrics: On the held-out pairs.
        calibration: Fitted on all of them.
        history: What was logged: step, epoch, loss, learning rate, average precision on the held-out pairs.
    """

    folder: Path
    pairs: int
    metrics: AssistantMetrics
    calibration: Calibration
    history: list[dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """All but the folder and the history, fit for JSON."""
        return {
            **self.metrics.as_dict(),
            "training_pairs": self.pairs,
            "temperature": self.calibration.temperature,
            "bias": self.calibration.bias,
        }


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training would do.

    Attributes:
        training: Pairs that it would learn from.
        held_out: Pairs that it would measure on.
        warm_up: Pairs of the stage before.
        positive_share: Of the training pairs.
        parameters: Of the model.
        seconds: About how long it would take, measured on some steps just now.
    """

    training: int
    held_out: int
    warm_up: int
    positive_share: float
    parameters: int
    seconds: float


def train_assistant(
    pairs: LabelledPairs,
    out: Path,
    recipe: AssistantRecipe | None = None,
    *,
    warm_up: LabelledPairs | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    on_start: OnStart | None = None,
) -> TrainedAssistant:
    """Train an assistant and write it to a folder, which appears only when it is complete.

    Interrupted, it leaves its checkpoints in a folder beside `out`, and the same call goes on from the last one.

    Args:
        pairs: Judged pairs; the recipe's share of them is held out.
        out: Where the assistant goes; must not exist.
        recipe: How to train; None is the default one.
        warm_up: Pairs for a stage before: many and less trusted, say from clicks.
        threads: Threads for arithmetic on CPU; None leaves it to torch. The weights depend on it in their last digits.
        progress: Called with 1 after each step.
        on_start: Called with the name of a stage and its number of steps.

    Raises:
        TrainingError: There are too few pairs, or `out` exists.
        StudentError: The base cannot be found.
        StorageError: Another process is training into the same folder.
    """
    recipe = recipe or AssistantRecipe()
    if out.exists():
        raise TrainingError(f"{out} exists already; name another folder, or remove it")
    parts = split(pairs, recipe.held_out, by=recipe.split_by, seed=recipe.seed, warm_up=warm_up)
    import torch

    from distillation.training_run import quiet_libraries

    if threads is not None:
        torch.set_num_threads(threads)

    with quiet_libraries(), work_folder(out, "training", {"digest": training_digest(pairs, recipe, warm_up)}) as work:
        model = _new_model(recipe)
        history = _run_stages(model, parts, recipe, work, progress, on_start)
        trained = _finish(model, parts, recipe, work / "assistant", history)
        os.rename(trained.folder, out)
        sync(out.parent)
    return TrainedAssistant(out, trained.pairs, trained.metrics, trained.calibration, trained.history)


def assistant_metrics(folder: Path) -> dict[str, Any]:
    """What `train_assistant` measured of the assistant in a folder; empty where it was trained elsewhere."""
    path = folder / METRICS_FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def training_digest(pairs: LabelledPairs, recipe: AssistantRecipe, warm_up: LabelledPairs | None = None) -> str:
    """SHA-256 (hex) over all that decides what a training gives."""
    choices = [asdict(recipe), pairs.digest(), None if warm_up is None else warm_up.digest()]
    return hashlib.sha256(json.dumps(choices).encode()).hexdigest()


def plan_training(
    pairs: LabelledPairs, recipe: AssistantRecipe | None = None, *, warm_up: LabelledPairs | None = None
) -> TrainingPlan:
    """What `train_assistant` would do with these; changes nothing. Raises what that one would."""
    recipe = recipe or AssistantRecipe()
    parts = split(pairs, recipe.held_out, by=recipe.split_by, seed=recipe.seed, warm_up=warm_up)
    from distillation.assistant_trainer import seconds_per_step
    from distillation.training_run import quiet_libraries, uses_bf16

    with quiet_libraries():
        model = _new_model(recipe)
        step = seconds_per_step(
            model, parts.training, ItemText(recipe.item_text), recipe.batch_size, uses_bf16(recipe.precision)
        )
    warm_up_pairs = 0 if parts.warm_up is None else len(parts.warm_up)
    learned = len(parts.training) * recipe.epochs + warm_up_pairs * recipe.warm_up_epochs
    return TrainingPlan(
        training=len(parts.training),
        held_out=len(parts.held_out),
        warm_up=warm_up_pairs,
        positive_share=float(parts.training.labels.mean()),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        # A held-out pair is read once an epoch, without the way back: a third of the work.
        seconds=step / recipe.batch_size * (learned + len(parts.held_out) * recipe.epochs / 3),
    )


def _new_model(recipe: AssistantRecipe) -> CrossEncoder:
    return new_assistant(
        assistant_size(recipe.size),
        recipe.base,
        layers=recipe.layers,
        max_length=recipe.max_length,
        dropout=recipe.dropout,
        frozen_embeddings=recipe.frozen_embeddings,
        seed=recipe.seed,
    )


def _run_stages(
    model: CrossEncoder,
    parts: Split,
    recipe: AssistantRecipe,
    work: Path,
    progress: Progress | None,
    on_start: OnStart | None,
) -> list[dict[str, float]]:
    from distillation.assistant_trainer import Fit

    def started(stage: str) -> Progress | None:
        return None if on_start is None else lambda steps: on_start(stage, steps)

    if parts.warm_up is not None and len(parts.warm_up) and recipe.warm_up_epochs > 0:
        Fit(
            model,
            parts.warm_up,
            recipe,
            epochs=recipe.warm_up_epochs,
            folder=work / "warm-up",
            progress=progress,
            on_start=started("warm-up"),
        ).run()
    return Fit(
        model,
        parts.training,
        recipe,
        epochs=recipe.epochs,
        folder=work / "training",
        held_out=parts.held_out,
        progress=progress,
        on_start=started("training"),
    ).run()


def _finish(
    model: CrossEncoder, parts: Split, recipe: AssistantRecipe, folder: Path, history: list[dict[str, float]]
) -> TrainedAssistant:
    """Measure, calibrate, and write everything to a folder, down to the disk."""
    held_out = parts.held_out
    assistant = Assistant("", "in training", model, item_text=ItemText(recipe.item_text))
    logits = assistant.logits(held_out.titles, held_out.keyphrases, held_out.categories)
    metrics = measure(logits, held_out.labels, seed=recipe.seed)
    calibration = fit_calibration(logits, held_out.labels)
    trained = TrainedAssistant(folder, len(parts.training), metrics, calibration, history)
    # What an attempt left that failed here.
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(folder), create_model_card=False)
    write_model_file(folder, item_text=recipe.item_text, temperature=calibration.temperature, bias=calibration.bias)
    (folder / METRICS_FILE).write_text(
        json.dumps({**trained.as_dict(), "recipe": asdict(recipe), "history": history}, indent=1), encoding="utf-8"
    )
    for path in [*folder.rglob("*"), folder]:
        sync(path)
    return trained
