"""The stages of an assistant's training: warm-up on many pairs that are trusted less, then training on the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keydistill.distillation.assistant.data import Split
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from keydistill.distillation.assistant.recipe import AssistantRecipe


def fit_assistant(
    model: CrossEncoder,
    parts: Split,
    recipe: AssistantRecipe,
    checkpoints: Path,
    *,
    progress: Progress = NO_PROGRESS,
) -> list[dict[str, float]]:
    """Train a model, or go on from the last checkpoint; it ends with the weights of the best one.

    Args:
        model: Model to train; it is changed in place.
        parts: Pairs to learn from and pairs to measure on; without any of these it ends with the last weights.
        recipe: Recipe of the training.
        checkpoints: Folder for the checkpoints of each stage.
        progress: Started for each stage with the number of steps that remain, and advanced by 1 after each step.

    Returns:
        The log of the training.
    """
    from keydistill.distillation.assistant.trainer import Trainer

    if parts.warm_up is not None and len(parts.warm_up) and recipe.warm_up_epochs > 0:
        Trainer(
            model,
            parts.warm_up,
            recipe,
            epochs=recipe.warm_up_epochs,
            checkpoints=checkpoints / "warm-up",
            name="warm-up",
            progress=progress,
        ).run()
    return Trainer(
        model,
        parts.training,
        recipe,
        epochs=recipe.epochs,
        checkpoints=checkpoints / "training",
        held_out=parts.held_out if len(parts.held_out) else None,
        name="training",
        progress=progress,
    ).run()
