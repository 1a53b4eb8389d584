"""Multi-task training of a student: clicks, search relevance, judgments and the assistant's scores, each with its loss.

Source: arXiv 2508.03628, section on multi-task training of the bi-encoder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.student.averaging import average_students, mean_of_students
from keydistill.distillation.student.data import Pairs, StudentData, Task
from keydistill.distillation.student.fit import (
    held_out_scores,
    sample_texts,
)
from keydistill.distillation.student.metrics import clearly_worse
from keydistill.distillation.student.recipe import StudentRecipe
from keydistill.distillation.student.trainings import FinishedTraining, Trainings
from keydistill.distillation.student.weights import learned_tasks
from keydistill.encoders import SAFETENSORS
from keydistill.errors import TrainingError
from keydistill.files import replace_json, sync, sync_folder, work_folder
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from keydistill.distillation.student.trainer import HeldOut


# Names of a student's trainings in `progress`.
_ALL, _CLICKS, _JUDGED = "all tasks", "clicks alone", "judged alone"
# Beside the students of each seed: the key of the training that made them.
_MEMBERS_KEY = "training.json"
# Fewest steps of a training on clicks. Fewer leave a student that has learned nothing, whose weights would only thin
# out the other's.
_LEAST_STEPS = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """A trained student, and how its training went.

    Attributes:
        folder: Folder of the student.
        steps: Number of optimiser steps that were made.
        pairs: Number of pairs per task.
        held_out_ndcg: nDCG@10 of the student on the held-out pairs; None without held-out pairs.
        clicks_share: Share in the weights of a second student, which learned from clicks alone or from what was judged
            relevant; 0 where there is none.
        int8: Whether its weights are on the grid of int8.
        history: Log of the training: step, loss per task, held-out score. The steps of further students count on.
        members: Folders of the students of each seed whose weights were averaged; empty with one seed.
    """

    folder: Path
    steps: int
    pairs: dict[str, int]
    held_out_ndcg: float | None
    clicks_share: float
    int8: bool
    history: list[dict[str, float]]
    members: tuple[Path, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All but the folders and the history, fit for JSON: what a registry keeps."""
        return {
            "steps": self.steps,
            "pairs": self.pairs,
            "held_out_ndcg@10": self.held_out_ndcg,
            "clicks_share": self.clicks_share,
            "int8": self.int8,
            **({"averaged_seeds": len(self.members)} if self.members else {}),
        }


@dataclass(frozen=True, slots=True)
class StudentTrainingPlan:
    """The plan of a training: what it would learn from.

    Attributes:
        pairs: Number of pairs per task that there is a table for.
        held_out: Number of pairs that it would be measured on.
    """

    pairs: dict[Task, int]
    held_out: int


def train_student(
    data: StudentData,
    out: Path,
    recipe: StudentRecipe | None = None,
    *,
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> TrainedStudent:
    """Train a student and write it to a folder, which appears only when it is complete.

    Where it learns from clicks and from something else, a second student learns from the clicks alone (without any,
    from what was judged relevant), from the same start and without hard negatives or masks of judge and assistant, and
    the weights are averaged
    (`StudentRecipe.clicks_share`). The first student is kept as it is where the average ranks the held-out pairs
    clearly worse, where the second one diverges, and where there are too few clicks for it.

    With several seeds (`StudentRecipe.seeds`) as many students learn all tasks from the same start, and the mean of
    their weights takes the place of the first. Each is kept in a folder beside `out`, `NAME.seeds`.

    At the end its linear weights are rounded, so that it can be computed in int8 (`StudentRecipe.int8`), unless that
    ranks the held-out pairs clearly worse.

    Interrupted, it leaves its checkpoints in a folder beside `out`, and the same call goes on from the last one.

    Args:
        data: Pairs per task.
        out: Folder to write the student to; must not exist.
        recipe: Recipe of the training; None is the default one.
        threads: Threads for arithmetic on CPU; None leaves it to torch. The weights depend on it in their last digits.
        progress: Started for each training with the number of steps that remain, and advanced by 1 after each step.

    Raises:
        TrainingError: There is nothing to learn from, the training diverges, or `out`, or with several seeds the folder
            of their students, exists.
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

    from keydistill.distillation.training.run import quiet_libraries

    if threads is not None:
        torch.set_num_threads(threads)
    key = {"digest": student_training_digest(data, recipe)}
    if recipe.further_seeds:
        _check_members(out, key)
    with quiet_libraries(), work_folder(out, "training", key) as work:
        trainings = Trainings(recipe, work, progress)
        first, clicks_alone = trainings.trained(_ALL, data), None
        others = [trainings.trained(f"{_ALL} seed {seed}", data, seed) for seed in recipe.further_seeds]
        held_out = held_out_scores(data, recipe)
        share, steps, log = 0.0, first.steps, first.log
        members = [each.folder for each in (first, *others)]
        full = first.folder
        if others:
            full = work / "mean"
            shutil.rmtree(full, ignore_errors=True)
            mean_of_students(members, full)
            for other in others:
                log, steps = _then(log, steps, other)
        score = _scores(full, held_out)
        draft = work / "draft"
        # Remove what an attempt left that failed here; what is trained stays until the work folder goes.
        shutil.rmtree(draft, ignore_errors=True)
        alone = data.clicks_alone()
        second: Task = "judged_yes" if alone.clicks is None else "clicks"
        if recipe.clicks_share > 0 and len(tasks) > 1 and _steps(tasks.get(second), recipe) >= _LEAST_STEPS:
            clicks_alone = trainings.trained_or_none(_CLICKS if second == "clicks" else _JUDGED, alone)
        if clicks_alone is not None:
            log, steps = _then(log, steps, clicks_alone)
            average_students(full, clicks_alone.folder, recipe.clicks_share, draft)
            averaged_score = _scores(draft, held_out)
            if clearly_worse(averaged_score, score):
                shutil.rmtree(draft)
            else:
                score, share = averaged_score, recipe.clicks_share
        if not share:
            shutil.copytree(full, draft)
        int8 = False
        if recipe.int8 and not recipe.keyphrase_table:
            int8, score = _rounded(draft, sample_texts(data, recipe), held_out, score)
        kept_members = _kept_members(members, out, work, key) if others else ()
        sync_folder(draft)
        draft.rename(out)
        sync(out.parent)
    return TrainedStudent(
        folder=out,
        steps=steps,
        pairs={name: len(pairs) for name, pairs in tasks.items()},
        held_out_ndcg=None if score is None else float(score.mean()),
        clicks_share=share,
        int8=int8,
        history=log,
        members=kept_members,
    )


def student_training_digest(data: StudentData, recipe: StudentRecipe) -> str:
    """SHA-256 (hex) over all that decides the result of a training."""
    return hashlib.sha256(json.dumps([asdict(recipe), data.digest()]).encode()).hexdigest()


def plan_student_training(data: StudentData) -> StudentTrainingPlan:
    """The plan of what `train_student` would learn from; changes nothing."""
    return StudentTrainingPlan(
        pairs={name: len(pairs) for name, pairs in data.tasks().items() if pairs is not None},
        held_out=0 if data.held_out is None else len(data.held_out),
    )


def _then(log: list[dict[str, float]], steps: int, later: FinishedTraining) -> tuple[list[dict[str, float]], int]:
    """The log and the number of steps with those of a later training, whose steps count on."""
    return [*log, *({**entry, "step": entry["step"] + steps} for entry in later.log)], steps + later.steps


def _check_members(out: Path, key: dict[str, str]) -> None:
    """Raise if the folder for the students of each seed is there and another training made it."""
    kept = members_folder(out)
    mark = kept / _MEMBERS_KEY
    if kept.exists() and (not mark.is_file() or json.loads(mark.read_text(encoding="utf-8")) != key):
        raise TrainingError(f"{kept} exists already, where the students of each seed are kept; name another folder")


def _kept_members(members: Sequence[Path], out: Path, work: Path, key: dict[str, str]) -> tuple[Path, ...]:
    """Copies of the students of each seed, in a folder beside the student that is their mean."""
    kept, draft = members_folder(out), work / "members"
    shutil.rmtree(draft, ignore_errors=True)
    for number, member in enumerate(members):
        shutil.copytree(member, draft / str(number))
    replace_json(draft / _MEMBERS_KEY, key)
    sync_folder(draft)
    if kept.exists():  # of this training, which was killed between the two
        shutil.rmtree(kept)
    draft.rename(kept)
    return tuple(kept / str(number) for number in range(len(members)))


def members_folder(out: Path) -> Path:
    """The folder of the students of each seed whose mean is in `out`."""
    return out.with_name(f"{out.name}.seeds")


def _steps(clicks: Pairs | None, recipe: StudentRecipe) -> float:
    return 0.0 if clicks is None else math.ceil(len(clicks) / recipe.batch_size) * recipe.total_epochs


def _scores(student: Path, held_out: HeldOut | None) -> NDArray[np.float64] | None:
    """The score of each held-out item by a student as it lies in its folder, in fp32; shape (items,)."""
    if held_out is None:
        return None
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return held_out(SentenceTransformer(str(student), device=device, local_files_only=True, model_kwargs=SAFETENSORS))


def _rounded(
    draft: Path, texts: list[str], held_out: HeldOut | None, score: NDArray[np.float64] | None
) -> tuple[bool, NDArray[np.float64] | None]:
    """Round a student's weights where the scores do not show it; return whether it was done, and the score then."""
    from keydistill.distillation.student.rounding import round_student

    before = draft.with_name("before-rounding")
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(draft, before)
    if round_student(draft, texts):
        rounded_score = _scores(draft, held_out)
        if not clearly_worse(rounded_score, score):
            return True, rounded_score
        _log.warning("the student's weights stay as they are, not rounded for int8: it would rank clearly worse")
        shutil.rmtree(draft)
        before.rename(draft)
    return False, score
