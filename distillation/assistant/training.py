"""The training of an assistant: a cross-encoder that learns the judge's verdicts, and is calibrated on held-out ones.

Source: arXiv 2508.03628, the cross-encoder assistant between LLM judge and bi-encoder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keydistill.distillation.assistant.base import base_model
from keydistill.distillation.assistant.calibration import fit_calibration
from keydistill.distillation.assistant.data import LabelledPairs
from keydistill.distillation.assistant.members import Member, splits_of, together, train_members, train_on_all
from keydistill.distillation.assistant.metrics import AssistantMetrics, held_out_metrics
from keydistill.distillation.assistant.recipe import AssistantRecipe
from keydistill.encoders import Calibration, ItemText, Scores, Student, write_model_file
from keydistill.errors import TrainingError
from keydistill.files import sync, sync_folder, work_folder
from keydistill.progress import NO_PROGRESS, Progress

METRICS_FILE = "metrics.json"


@dataclass(frozen=True, slots=True)
class TrainedAssistant:
    """A trained assistant and its quality.

    Attributes:
        folder: Folder of the assistant.
        pairs: Number of training pairs.
        warm_up: Number of pairs of the warm-up before it.
        metrics: Quality on the held-out pairs.
        calibration: Calibration fitted on all held-out pairs.
        history: Log of the training: step, epoch, loss, learning rate, average precision on the held-out pairs.
    """

    folder: Path
    pairs: int
    warm_up: int
    metrics: AssistantMetrics
    calibration: Calibration
    history: list[dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """All but the folder and the history, fit for JSON."""
        return {
            **self.metrics.as_dict(),
            "training_pairs": self.pairs,
            "warm_up_pairs": self.warm_up,
            "temperature": self.calibration.temperature,
            "bias": self.calibration.bias,
        }


@dataclass(frozen=True, slots=True)
class AssistantTrainingPlan:
    """The plan of a training.

    Attributes:
        training: Number of pairs that it (or the first of several models) would learn from.
        held_out: Number of pairs that it (or the first of several models) would be measured on.
        folds: Number of models that would be trained, each kept from another part of the pairs; of several, another
            one would learn all pairs.
        warm_up: Number of pairs of the warm-up before it.
        positive_share: Share of the training pairs that is positive.
        parameters: Number of the model's parameters.
        seconds: Estimated duration, measured on some steps just now.
    """

    training: int
    held_out: int
    folds: int
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
    student: Student | None = None,
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> TrainedAssistant:
    """Train an assistant and write it to a folder, which appears only when it is complete.

    Interrupted, it leaves its checkpoints in a folder beside `out`, and the same call goes on from the last one.

    Args:
        pairs: Judged pairs; the recipe's share of them is held out.
        out: Folder to write the assistant to; must not exist.
        recipe: Recipe of the training; None is the default one.
        warm_up: Pairs for a stage before the training: many that are trusted less, say from clicks.
        student: Student, before its training: the metrics say whether the assistant orders the held-out pairs of a
            keyphrase better than it does. One that does not has nothing to teach of that. None compares with none.
        threads: Threads for arithmetic on CPU; None leaves it to torch. The weights depend on it in their last digits.
        progress: Started for each stage with the number of steps that remain, and advanced by 1 after each step.

    Raises:
        TrainingError: There are too few pairs, or `out` exists.
        StudentError: The base cannot be found.
        StorageError: Another process is training into the same folder.
    """
    recipe = recipe or AssistantRecipe()
    if out.exists():
        raise TrainingError(f"{out} exists already; name another folder, or remove it")
    splits = splits_of(pairs, recipe, warm_up)
    import torch

    from keydistill.distillation.training.run import quiet_libraries

    if threads is not None:
        torch.set_num_threads(threads)

    key = {"digest": assistant_training_digest(pairs, recipe, warm_up)}
    with quiet_libraries(), work_folder(out, "training", key) as work:
        members = train_members(splits, recipe, work, progress)
        if len(members) == 1:
            source, learned, warm_up = members[0], splits[0].training, splits[0].warm_up
        else:
            source, learned = train_on_all(pairs, warm_up, members, recipe, work, progress), pairs
        warmed = 0 if warm_up is None else len(warm_up)
        trained = _finish(members, source, recipe, work / "assistant", len(learned), warmed, student)
        os.rename(trained.folder, out)
        sync(out.parent)
    return replace(trained, folder=out)


def assistant_metrics(folder: Path) -> dict[str, Any]:
    """The metrics that `train_assistant` wrote for the assistant in a folder; empty where it was trained elsewhere."""
    path = folder / METRICS_FILE
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return metrics


def assistant_training_digest(
    pairs: LabelledPairs, recipe: AssistantRecipe, warm_up: LabelledPairs | None = None
) -> str:
    """SHA-256 (hex) over all that decides the weights of a training."""
    choices = [
        {**asdict(recipe), "folds": recipe.chosen_folds},
        pairs.digest(),
        None if warm_up is None else warm_up.digest(),
    ]
    return hashlib.sha256(json.dumps(choices).encode()).hexdigest()


def plan_assistant_training(
    pairs: LabelledPairs, recipe: AssistantRecipe | None = None, *, warm_up: LabelledPairs | None = None
) -> AssistantTrainingPlan:
    """The plan of what `train_assistant` would do with the same arguments, with its errors; changes nothing."""
    recipe = recipe or AssistantRecipe()
    splits = splits_of(pairs, recipe, warm_up)
    parts = splits[0]
    from keydistill.distillation.assistant.trainer import seconds_per_step
    from keydistill.distillation.training.run import quiet_libraries, uses_bf16

    with quiet_libraries():
        model = base_model(recipe)
        step = seconds_per_step(
            model, parts.training, ItemText(recipe.item_text), recipe.batch_size, uses_bf16(recipe.precision)
        )
    warm_up_pairs = 0 if parts.warm_up is None else len(parts.warm_up)
    learned = len(parts.training) * recipe.epochs + warm_up_pairs * recipe.warm_up_epochs
    # A held-out pair is read once an epoch, without the way back: a third of the work.
    read = learned + len(parts.held_out) * recipe.epochs / 3
    everything = 0.0
    if len(splits) > 1:
        everything = len(pairs) * recipe.epochs + (0 if warm_up is None else len(warm_up)) * recipe.warm_up_epochs
    return AssistantTrainingPlan(
        training=len(parts.training),
        held_out=len(parts.held_out),
        folds=len(splits),
        warm_up=warm_up_pairs,
        positive_share=float(parts.training.labels.mean()),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=step / recipe.batch_size * (len(splits) * read + everything),
    )


def _cosines(student: Student, pairs: LabelledPairs) -> Scores:
    """The student's cosine of each pair, shape (n,)."""
    items = student.embed_items(pairs.titles, pairs.categories)
    cosines: Scores = (items * student.embed_keyphrases(pairs.keyphrases)).sum(axis=1)
    return cosines


def _finish(
    members: Sequence[Member],
    source: Member,
    recipe: AssistantRecipe,
    folder: Path,
    learned: int,
    warmed: int,
    student: Student | None,
) -> TrainedAssistant:
    """Measure and calibrate by what members say of what they were kept from; write the source, down to the disk."""
    held_out, logits, fold_of = together(members)
    metrics = held_out_metrics(
        logits,
        held_out.labels,
        seed=recipe.seed,
        groups=held_out.groups(recipe.split_by),
        keyphrases=held_out.keyphrases,
        folds=fold_of if len(members) > 1 else None,
        of_student=None if student is None else _cosines(student, held_out),
    )
    calibration = fit_calibration(logits, held_out.labels)
    trained = TrainedAssistant(folder, learned, warmed, metrics, calibration, source.history)
    # Remove what an attempt left that failed here.
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source.folder, folder)
    write_model_file(folder, item_text=recipe.item_text, temperature=calibration.temperature, bias=calibration.bias)
    (folder / METRICS_FILE).write_text(
        json.dumps({**trained.as_dict(), "recipe": asdict(recipe), "history": trained.history}, indent=1),
        encoding="utf-8",
    )
    sync_folder(folder)
    return trained
