"""Trains a student multi-task: clicks, search relevance, judgments and the assistant's scores, each with its loss.

Source: arXiv 2508.03628, section on multi-task training of the bi-encoder.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from distillation.ranking import mean_ndcg
from distillation.rotation import rotate
from distillation.student_data import POSITIVE_TASKS, Pairs, StudentData, Task
from distillation.transformer_training import set_dropout, training_attention
from distillation.work_folder import work_folder
from encoders import ItemText, find_model, write_model_file
from errors import TrainingError
from files import sync

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from torch import nn

DistillationLoss = Literal["pearson", "margin_mse", "cosent", "kl"]
Progress = Callable[[int], None]

_LOSSES = " or ".join(get_args(DistillationLoss))

# Items, and as many keyphrases, that the principal axes are found by.
_ROTATION_TEXTS = 2_048


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """How a student is trained.

    Attributes:
        base: What it starts from: a folder or a model name.
        layers: Transformer layers to keep, evenly spread over those of the base; None keeps them all.
        item_text: Template of what it reads of an item (`encoders.ItemText`).
        dimensions: Matryoshka dimensions that are trained, the greatest first; those above the base's are left out.
        distillation_loss: For the assistant's scores.
        weights: What the loss of each task counts.
        epochs: Passes over all pairs.
        batch_size: Pairs per step.
        learning_rate: At its peak, after a tenth of the steps; then it falls to 0 linearly.
        scale: Inverse temperature of in-batch negatives and rankings.
        hard_negatives: Keyphrases per positive pair, besides those of the batch, that the assistant rejects for its
            item.
        rotated: Whether vectors are turned onto their principal axes before training (`distillation.rotation`): it
            changes no cosine, and the first dimensions hold most of what the vectors say.
        dropout: Of the base's layers. Learning from scores needs none, and drawing the masks takes a seventh of a step
            on CPU.
        frozen_embeddings: Whether the word embeddings stay as they are: half of the parameters, most of whose words a
            training never sees; without their gradients a step is a tenth shorter.
        seed: Of everything that is random.
        patience: Evaluations without a better held-out score after which training stops.
        evaluations: How often the held-out score is taken, over the whole training.
        precision: "auto" is bf16 where the machine has it, else fp32.
    """

    base: str = "sentence-transformers/all-MiniLM-L6-v2"
    layers: int | None = None
    item_text: str = "{leaf}: {title}"
    dimensions: tuple[int, ...] = (384, 256, 128, 64)
    distillation_loss: DistillationLoss = "pearson"
    weights: Mapping[Task, float] = field(
        default_factory=lambda: {
            "clicks": 1.0,
            "search_relevance": 0.1,
            "judgments": 1.0,
            "assistant": 0.3,
            "approved": 1.0,
        }
    )
    epochs: float = 2.0
    batch_size: int = 64
    learning_rate: float = 1e-4
    scale: float = 20.0
    hard_negatives: int = 4
    rotated: bool = True
    dropout: float = 0.0
    frozen_embeddings: bool = True
    seed: int = 0
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
        for name, fits, expected in (
            ("layers", self.layers is None or self.layers >= 1, "a number from 1 up, or None for all"),
            ("dimensions", all(size >= 1 for size in self.dimensions), "numbers from 1 up"),
            ("distillation_loss", self.distillation_loss in get_args(DistillationLoss), _LOSSES),
            (
                "weights",
                all(task in get_args(Task) and 0 <= weight < math.inf for task, weight in self.weights.items()),
                f"numbers from 0 up for {', '.join(get_args(Task))}",
            ),
            ("epochs", 0 < self.epochs < math.inf, "a number above 0"),
            ("batch_size", self.batch_size >= 1, "a number from 1 up"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a number above 0"),
            ("scale", 0 < self.scale < math.inf, "a number above 0"),
            ("hard_negatives", self.hard_negatives >= 0, "a number from 0 up"),
            ("dropout", 0 <= self.dropout < 1, "a number from 0 up, below 1"),
            ("patience", self.patience >= 1, "a number from 1 up"),
            ("evaluations", self.evaluations >= 1, "a number from 1 up"),
            ("precision", self.precision in ("auto", "fp32", "bf16"), "auto, fp32 or bf16"),
        ):
            if not fits:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected {expected}")


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """What a training gave.

    Attributes:
        folder: Of the student.
        steps: Optimiser steps that were made.
        pairs: Pairs per task.
        held_out_ndcg: nDCG@10 on the held-out pairs at the kept step; None without held-out pairs.
        history: What was logged: step, loss per task, held-out score.
    """

    folder: Path
    steps: int
    pairs: dict[str, int]
    held_out_ndcg: float | None
    history: list[dict[str, float]]


def train_student(
    data: StudentData,
    out: Path,
    recipe: StudentRecipe | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    on_start: Callable[[int], None] | None = None,
) -> TrainedStudent:
    """Train a student and write it to a folder, which appears only when it is complete.

    Interrupted, it leaves its checkpoints in a folder beside `out`, and the same call goes on from the last one.

    Args:
        data: Pairs per task.
        out: Where the student goes; must not exist.
        recipe: How to train; None is the default one.
        threads: Threads for arithmetic on CPU; None leaves it to torch. The weights depend on it in their last digits.
        progress: Called with 1 after each step.
        on_start: Called with the number of steps.

    Raises:
        TrainingError: There is nothing to learn from, the training diverges, or `out` exists.
        StudentError: The base cannot be found or loaded.
        StorageError: Another process is training into the same folder.
    """
    recipe = recipe or StudentRecipe()
    tasks = {
        name: pairs
        for name, pairs in data.tasks().items()
        if pairs is not None and len(pairs) and recipe.weights.get(name, 0) > 0
    }
    if not tasks:
        raise TrainingError("there are no pairs to train a student with; give clicks, judgments or scores")
    if out.exists():
        raise TrainingError(f"{out} exists already; name another folder, or remove it")

    import torch

    from distillation.trainer import Trainer
    from distillation.training_run import quiet_libraries

    if threads is not None:
        torch.set_num_threads(threads)
    key = {"digest": student_training_digest(data, recipe)}
    with quiet_libraries(), work_folder(out, "training", key) as work:
        item_texts = np.array(ItemText(recipe.item_text).render_all(data.titles, data.categories), dtype=object)
        texts = _Texts(item_texts, np.array(data.texts, dtype=object))
        model = base_model(recipe)
        if recipe.rotated:
            rotate(model, texts.sample(_ROTATION_TEXTS, recipe.seed))
        trainer = Trainer(
            model,
            {name: _dataset(data, texts, recipe, name, pairs) for name, pairs in tasks.items()},
            {name: _loss(model, data, recipe, name) for name in tasks},
            recipe,
            checkpoints=work / "checkpoints",
            held_out=_held_out(data.held_out, texts),
            progress=progress,
            on_start=on_start,
        )
        outcome = trainer.run()
        _check_finite(model)
        draft = work / "student"
        # What an attempt left that failed here.
        shutil.rmtree(draft, ignore_errors=True)
        save_student(model, draft, recipe.item_text)
        for path in [*draft.rglob("*"), draft]:
            sync(path)
        draft.rename(out)
        sync(out.parent)
    return TrainedStudent(
        folder=out,
        steps=outcome.steps,
        pairs={name: len(pairs) for name, pairs in tasks.items()},
        held_out_ndcg=outcome.best_score,
        history=outcome.log,
    )


def student_training_digest(data: StudentData, recipe: StudentRecipe) -> str:
    """SHA-256 (hex) over all that decides what a training gives."""
    return hashlib.sha256(json.dumps([asdict(recipe), data.digest()]).encode()).hexdigest()


def base_model(recipe: StudentRecipe) -> SentenceTransformer:
    """The base with as many layers as the recipe keeps; seeds torch."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import set_seed

    set_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SentenceTransformer(
        str(find_model(recipe.base)), device=device, local_files_only=True, model_kwargs=training_attention()
    )
    set_dropout(model, recipe.dropout)
    if recipe.layers is not None:
        cut_layers(model, recipe.layers)
    if recipe.frozen_embeddings:
        transformer: Any = model[0].auto_model
        transformer.get_input_embeddings().weight.requires_grad_(False)
    return model


def cut_layers(model: SentenceTransformer, layers: int) -> None:
    """Keep some layers of a BERT, evenly spread, the last one among them.

    Raises:
        TrainingError: It has fewer.
    """
    from torch import nn

    transformer: Any = model[0].auto_model
    full = len(transformer.encoder.layer)
    if not 1 <= layers <= full:
        raise TrainingError(f"cannot keep {layers} layers of a base that has {full}; expected 1 to {full}")
    kept = np.linspace(full - 1, full / layers - 1, layers).round().astype(int)[::-1]
    transformer.encoder.layer = nn.ModuleList(transformer.encoder.layer[index] for index in kept)
    transformer.config.num_hidden_layers = layers


def _check_finite(model: nn.Module) -> None:
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise TrainingError("the training diverged: weights are not finite; choose a lower learning rate")


def save_student(model: SentenceTransformer, folder: Path, item_text: str) -> None:
    """Write a student with the template of its items."""
    model.save_pretrained(str(folder), create_model_card=False)
    write_model_file(folder, item_text=item_text)


@dataclass(frozen=True, slots=True)
class _Texts:
    """What the student reads, by number."""

    items: NDArray[np.object_]
    keyphrases: NDArray[np.object_]

    def sample(self, wanted: int, seed: int) -> list[str]:
        """At most so many items and as many keyphrases, at random."""
        rng = np.random.default_rng(seed)
        return [text for texts in (self.items, self.keyphrases) for text in texts[rng.permutation(len(texts))[:wanted]]]


def _dataset(data: StudentData, texts: _Texts, recipe: StudentRecipe, name: Task, pairs: Pairs) -> Dataset:
    from datasets import Dataset

    columns: dict[str, Any] = {
        "item": texts.items[pairs.items].tolist(),
        "keyphrase": texts.keyphrases[pairs.keyphrases].tolist(),
    }
    if name in POSITIVE_TASKS:
        negatives = data.hard_negatives(pairs, recipe.hard_negatives, np.random.default_rng(recipe.seed))
        for place, column in enumerate(negatives.T):
            columns[f"negative_{place}"] = texts.keyphrases[column].tolist()
        columns["label"] = np.column_stack([pairs.items, pairs.keyphrases, negatives])
    else:
        columns["score"] = pairs.scores
    return Dataset.from_dict(columns)


def _loss(model: SentenceTransformer, data: StudentData, recipe: StudentRecipe, name: Task) -> nn.Module:
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    from distillation import losses

    distillation: Mapping[DistillationLoss, Callable[[], nn.Module]] = {
        "pearson": lambda: losses.PearsonLoss(model),
        "margin_mse": lambda: losses.MarginMSELoss(model),
        "cosent": lambda: losses.CoSENTLoss(model, recipe.scale),
        "kl": lambda: losses.KLLoss(model, recipe.scale),
    }

    def in_batch() -> nn.Module:
        return losses.InBatchLoss(model, losses.KnownPairs(data.known(), len(data.texts)), recipe.scale)

    makers: Mapping[Task, Callable[[], nn.Module]] = {
        "clicks": in_batch,
        "approved": in_batch,
        "search_relevance": lambda: losses.CoSENTLoss(model, recipe.scale),
        "judgments": lambda: losses.CoSENTLoss(model, recipe.scale),
        "assistant": distillation[recipe.distillation_loss],
    }
    loss = makers[name]()
    full = model.get_embedding_dimension() or 0
    dimensions = sorted({full, *(size for size in recipe.dimensions if size < full)}, reverse=True)
    share = recipe.weights[name] / len(dimensions)
    return losses.WeightedLoss(MatryoshkaLoss(model, loss, dimensions), share)


def _held_out(pairs: Pairs | None, texts: _Texts) -> Callable[[SentenceTransformer], float] | None:
    if pairs is None or np.isnan(mean_ndcg(pairs.items, pairs.scores, pairs.scores)):
        # No pairs, or no item with a right and a further one: every ranking of these is as good.
        return None
    items, item_of = np.unique(pairs.items, return_inverse=True)
    keyphrases, keyphrase_of = np.unique(pairs.keyphrases, return_inverse=True)
    columns = texts.items[items].tolist(), texts.keyphrases[keyphrases].tolist()

    def ndcg(model: SentenceTransformer) -> float:
        """nDCG@10 of the model's ranking of each held-out item's keyphrases."""
        found = [
            np.asarray(model.encode(column, batch_size=64, normalize_embeddings=True, show_progress_bar=False))
            for column in columns
        ]
        cosines = (found[0][item_of] * found[1][keyphrase_of]).sum(axis=1)
        return mean_ndcg(item_of, cosines, pairs.scores, k=10)

    return ndcg
