"""The trainings that a student is made of, all from one start; each that is finished is kept until the student is."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from keydistill.distillation.student.data import StudentData
from keydistill.distillation.student.fit import fit_student, starting_model
from keydistill.distillation.student.recipe import StudentRecipe
from keydistill.encoders import write_model_file
from keydistill.errors import TrainingError
from keydistill.files import replace_json, sync_folder
from keydistill.progress import Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_log = logging.getLogger(__name__)


def save_student(model: SentenceTransformer, folder: Path, item_text: str) -> None:
    """Write a student with the template of its items."""
    model.save_pretrained(str(folder), create_model_card=False)
    write_model_file(folder, item_text=item_text)


@dataclass(frozen=True, slots=True)
class FinishedTraining:
    """A finished training: folder of the model, number of steps that were made, and the log."""

    folder: Path
    steps: int
    log: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Trainings:
    """The trainings from one start; a finished one stays in the work folder as a model, with a record beside it."""

    recipe: StudentRecipe
    work: Path
    progress: Progress

    def trained(self, name: str, data: StudentData, seed: int | None = None) -> FinishedTraining:
        """Train, resume, or take the model that was trained before; the seed is the recipe's if none is given."""
        recipe = self.recipe if seed is None else replace(self.recipe, seed=seed)
        short = name.replace(" ", "-")
        folder, record, checkpoints = (self.work / place for place in (short, f"{short}.json", f"checkpoints/{short}"))
        if not record.is_file():
            model, outcome = fit_student(
                data,
                recipe,
                self._start(data),
                checkpoints,
                name=name,
                progress=self.progress,
            )
            # Remove what an attempt left that failed here.
            shutil.rmtree(folder, ignore_errors=True)
            save_student(model, folder, self.recipe.item_text)
            sync_folder(folder)
            replace_json(record, {"steps": outcome.steps, "log": outcome.log})
            # With the optimiser's moments they are several times the model.
            shutil.rmtree(checkpoints)
        return FinishedTraining(folder, **json.loads(record.read_text(encoding="utf-8")))

    def trained_or_none(self, name: str, data: StudentData) -> FinishedTraining | None:
        """Train as `trained` does; None where the training diverges, for what was trained before keeps its worth."""
        try:
            return self.trained(name, data)
        except TrainingError as error:
            _log.warning("the student is not averaged with one of %s: %s", name, error)
            return None

    def _start(self, data: StudentData) -> Path:
        """The folder of the starting model, written once.

        Another machine that resumes might turn the axes otherwise, and then nothing could be averaged.

        It depends on the texts alone, not on the pairs.
        """
        start, draft = self.work / "start", self.work / "start.draft"
        if not start.exists():
            shutil.rmtree(draft, ignore_errors=True)
            save_student(starting_model(data, self.recipe), draft, self.recipe.item_text)
            sync_folder(draft)
            draft.rename(start)
        return start
