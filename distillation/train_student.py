"""Trains a student multi-task: clicks, search relevance, judgments and the assistant's scores, each with its loss.

Source: arXiv 2508.03628, section on multi-task training of the bi-encoder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillation.averaging import average_students
from distillation.student_data import StudentData
from distillation.student_recipe import StudentRecipe
from distillation.student_training import Fitted, fit_student, learned_tasks
from distillation.work_folder import work_folder
from encoders import write_model_file
from errors import TrainingError
from files import sync

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Progress = Callable[[int], None]
OnStart = Callable[[str, int], None]

# The trainings of a student, as `on_start` is told.
_ALL, _CLICKS = "student", "clicks"


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """What a training gave.

    Attributes:
        folder: Of the student.
        steps: Optimiser steps that were made.
        pairs: Pairs per task.
        held_out_ndcg: nDCG@10 of the student on the held-out pairs; None without held-out pairs.
        clicks_share: What the weights have of a second student that learned from clicks alone; 0 where there is none.
        history: What was logged: step, loss per task, held-out score. The steps of the second student count on.
    """

    folder: Path
    steps: int
    pairs: dict[str, int]
    held_out_ndcg: float | None
    clicks_share: float
    history: list[dict[str, float]]

    def metrics(self) -> dict[str, Any]:
        """What a registry keeps of it."""
        return {
            "steps": self.steps,
            "pairs": self.pairs,
            "held_out_ndcg@10": self.held_out_ndcg,
            "clicks_share": self.clicks_share,
        }


def train_student(
    data: StudentData,
    out: Path,
    recipe: StudentRecipe | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    on_start: OnStart | None = None,
) -> TrainedStudent:
    """Train a student and write it to a folder, which appears only when it is complete.

    Where it learns from clicks and from something else, a second student is trained from clicks alone, and the weights
    are averaged (`StudentRecipe.clicks_share`). An average that ranks the held-out pairs worse than both is not taken.

    Interrupted, it leaves its checkpoints in a folder beside `out`, and the same call goes on from the last one.

    Args:
        data: Pairs per task.
        out: Where the student goes; must not exist.
        recipe: How to train; None is the default one.
        threads: Threads for arithmetic on CPU; None leaves it to torch. The weights depend on it in their last digits.
        progress: Called with 1 after each step.
        on_start: Called with the name of a training and the number of its steps that are left.

    Raises:
        TrainingError: There is nothing to learn from, the training diverges, or `out` exists.
        StudentError: The base cannot be found or loaded.
        StorageError: Another process is training into the same folder.
    """
    recipe = recipe or StudentRecipe()
    tasks = learned_tasks(data, recipe)
    if not tasks:
        raise TrainingError("there are no pairs to train a student with; give clicks, judgments or scores")
    if out.exists():
        raise TrainingError(f"{out} exists already; name another folder, or remove it")

    import torch

    from distillation.training_run import quiet_libraries

    if threads is not None:
        torch.set_num_threads(threads)
    key = {"digest": student_training_digest(data, recipe)}
    with quiet_libraries(), work_folder(out, "training", key) as work:

        def fitted(name: str, pairs: StudentData) -> Fitted:
            told = None if on_start is None else partial(on_start, name)
            return fit_student(pairs, recipe, work / "checkpoints" / name, progress=progress, on_start=told)

        trained = fitted(_ALL, data)
        draft = _draft(trained.model, work / "student", recipe)
        steps, log, score, share = trained.outcome.steps, trained.outcome.log, trained.outcome.best_score, 0.0
        if recipe.clicks_share > 0 and len(tasks) > 1 and "clicks" in tasks:
            alone = fitted(_CLICKS, data.clicks_alone())
            log = [*log, *({**entry, "step": entry["step"] + steps} for entry in alone.outcome.log)]
            steps += alone.outcome.steps
            average = work / "average"
            shutil.rmtree(average, ignore_errors=True)
            average_students(draft, _draft(alone.model, work / "alone", recipe), recipe.clicks_share, average)
            found = _score(average, trained)
            ends = [end for end in (score, alone.outcome.best_score) if end is not None]
            if found is None or found >= min(ends):
                draft, score, share = average, found, recipe.clicks_share
        for path in [*draft.rglob("*"), draft]:
            sync(path)
        draft.rename(out)
        sync(out.parent)
    return TrainedStudent(out, steps, {name: len(pairs) for name, pairs in tasks.items()}, score, share, log)


def student_training_digest(data: StudentData, recipe: StudentRecipe) -> str:
    """SHA-256 (hex) over all that decides what a training gives."""
    return hashlib.sha256(json.dumps([asdict(recipe), data.digest()]).encode()).hexdigest()


def save_student(model: SentenceTransformer, folder: Path, item_text: str) -> None:
    """Write a student with the template of its items."""
    model.save_pretrained(str(folder), create_model_card=False)
    write_model_file(folder, item_text=item_text)


def _draft(model: SentenceTransformer, folder: Path, recipe: StudentRecipe) -> Path:
    # What an attempt left that failed here.
    shutil.rmtree(folder, ignore_errors=True)
    save_student(model, folder, recipe.item_text)
    return folder


def _score(student: Path, trained: Fitted) -> float | None:
    """A student's mean held-out score, by the pairs of a training."""
    if trained.held_out is None:
        return None
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(student), device=str(trained.model.device), local_files_only=True)
    return float(trained.held_out(model).mean())
