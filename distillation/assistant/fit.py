"""The stages of an assistant's training: warm-up on many pairs that are trusted less, then training on the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keydistill.distillation.assistant.data import Split

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from keydistill.distillation.assistant.recipe import AssistantRecipe


def fit_assistant(
    model: CrossEncoder,
    parts: Split,
    recipe: AssistantRecipe,
    checkpoints: Path,
    *,
    progress: Callable[[int], None] | None = None,
    on_start: Callable[[str, int], None] | None = None,
) -> list[dict[str, float]]:
    """Train a model, or go on from the last checkpoint; it ends with the weights of the best one.

    Args:
        model: Changed in place.
        parts: Pairs to learn and to measure on.
        recipe: How to train.
        checkpoints: Folder for the checkpoints of each stage.
        progress: Called with 1 after each step.
        on_start: Called with the name of a stage and the number of steps that it has left.

    Returns:
        What was logged of the training.
    """
    from keydistill.distillation.assistant.trainer import Trainer

    def started(stage: str) -> Callable[[int], None] | None:
        return None if on_start is None else lambda steps: on_start(stage, steps)

    if parts.warm_up is not None and len(parts.warm_up) and recipe.warm_up_epochs > 0:
        Trainer(
            model,
            parts.warm_up,
            recipe,
            epochs=recipe.warm_up_epochs,
            checkpoints=checkpoints / "warm-up",
            progress=progress,
            on_start=started("warm-up"),
        ).run()
    return Trainer(
        model,
        parts.training,
        recipe,
        epochs=recipe.epochs,
        checkpoints=checkpoints / "training",
        held_out=parts.held_out,
        progress=progress,
        on_start=started("training"),
    ).run()
