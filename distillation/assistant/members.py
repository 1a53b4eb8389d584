"""Cross-fitting: models of which each was kept from a part of the pairs and scores these, and one that learns all."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.assistant.base import base_model
from keydistill.distillation.assistant.data import LabelledPairs, Split, effective_groups, folds, split
from keydistill.distillation.assistant.fit import fit_assistant
from keydistill.encoders import Assistant, ItemText, Scores
from keydistill.errors import TrainingError
from keydistill.files import replace_json, sync_folder
from keydistill.progress import NamedProgress, Progress

if TYPE_CHECKING:
    from keydistill.distillation.assistant.recipe import AssistantRecipe

# From so many held-out keyphrases on (counted as if all were equally long) one split says enough: the interval of an
# AUC of 0.8 is then about 0.1 to either side.
_ENOUGH_GROUPS = 50
# Folds of a cross-fitting that nobody chose the folds of.
_FOLDS = 3
_RECORD = "member.json"


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A model, and what it says of the pairs that it was kept from.

    Attributes:
        folder: Folder of the model, as `CrossEncoder.save_pretrained` writes it.
        held_out: Pairs that it was kept from.
        logits: Its logits of these, shape (n,).
        history: Log of its training.
    """

    folder: Path
    held_out: LabelledPairs
    logits: Scores
    history: list[dict[str, float]]


def splits_of(pairs: LabelledPairs, recipe: AssistantRecipe, warm_up: LabelledPairs | None) -> list[Split]:
    """The one split of a training, or its folds.

    With 0 folds in the recipe there are several where the keyphrases that one split holds out are few, if each of them
    can have pairs of both kinds.

    Raises:
        TrainingError: A part would be empty, or have only positive or only negative pairs.
    """
    count = recipe.chosen_folds
    if not count and recipe.held_out * effective_groups(pairs, recipe.split_by) < _ENOUGH_GROUPS:
        # Nobody asked for folds: where one would have pairs of one kind alone, a split may still have both.
        with suppress(TrainingError):
            return folds(pairs, _FOLDS, by=recipe.split_by, seed=recipe.seed, warm_up=warm_up)
    if count <= 1:
        return [split(pairs, recipe.held_out, by=recipe.split_by, seed=recipe.seed, warm_up=warm_up)]
    return folds(pairs, count, by=recipe.split_by, seed=recipe.seed, warm_up=warm_up)


def train_members(splits: Sequence[Split], recipe: AssistantRecipe, work: Path, progress: Progress) -> list[Member]:
    """Train the model of each split; those that an interrupted training had finished are not trained again.

    Args:
        splits: Splits of the same pairs.
        recipe: Recipe of the training.
        work: Folder for checkpoints and finished models.
        progress: Started for each stage of each training.
    """
    if len(splits) == 1:
        return [_member(splits[0], recipe, work, progress)]
    return [
        _member(part, recipe, work / f"fold-{number}", NamedProgress(f"fold {number} of {len(splits)}", progress))
        for number, part in enumerate(splits, 1)
    ]


def train_on_all(
    pairs: LabelledPairs,
    warm_up: LabelledPairs | None,
    members: Sequence[Member],
    recipe: AssistantRecipe,
    work: Path,
    progress: Progress,
) -> Member:
    """Train the model that learns all pairs, for as many epochs as were best on the members' held-out pairs (mean)."""
    nothing = pairs.take(np.empty(0, dtype=np.intp))
    found = replace(recipe, epochs=float(np.mean([_best_epochs(member.history) for member in members])))
    return _member(Split(pairs, nothing, warm_up), found, work / "all", NamedProgress("all pairs", progress))


def _best_epochs(history: Sequence[dict[str, float]]) -> float:
    measured = [entry for entry in history if "average_precision" in entry]
    return max(measured, key=lambda entry: entry["average_precision"])["epoch"]


def together(members: Sequence[Member]) -> tuple[LabelledPairs, Scores, NDArray[np.intp]]:
    """All held-out pairs, their logits, and the number of the member that gave each."""
    pairs = LabelledPairs.joined([member.held_out for member in members])
    sizes = [len(member.held_out) for member in members]
    return pairs, np.concatenate([member.logits for member in members]), np.repeat(np.arange(len(members)), sizes)


def _member(parts: Split, recipe: AssistantRecipe, work: Path, progress: Progress) -> Member:
    folder, record = work / "model", work / _RECORD
    held_out = parts.held_out
    if not record.is_file():
        model = base_model(recipe)
        history = fit_assistant(model, parts, recipe, work, progress=progress)
        assistant = Assistant("", "in training", model, item_text=ItemText(recipe.item_text))
        logits = (
            assistant.logits(held_out.titles, held_out.keyphrases, held_out.categories)
            if len(held_out)
            else np.empty(0, dtype=np.float32)
        )
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(str(folder), create_model_card=False)
        sync_folder(folder)
        # JSON has no number for a logit of a training that diverged.
        numbers = [value if math.isfinite(value) else None for value in logits.tolist()]
        replace_json(record, {"logits": numbers, "history": history})
        for checkpoints in ("warm-up", "training"):
            shutil.rmtree(work / checkpoints, ignore_errors=True)
    kept = json.loads(record.read_text(encoding="utf-8"))
    return Member(folder, held_out, np.array(kept["logits"], dtype=np.float32), kept["history"])
