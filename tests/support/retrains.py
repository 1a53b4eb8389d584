"""A marketplace and a recipe that are small enough to retrain on within seconds."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keydistill.distillation.retrain import RetrainRecipe
from keydistill.execution.retrain_order import RetrainOrder
from keydistill.simulation import MarketplaceSettings, simulate


def small_market(folder: Path) -> Path:
    simulate(folder, MarketplaceSettings(items=40, keyphrases=300, seed=3))
    return folder


def without_judgments(market: Path, folder: Path) -> Path:
    """The signals of a marketplace in a folder of their own, without its judgments."""
    shutil.copytree(market, folder, ignore=lambda *_: ["judgments.parquet"])
    return folder


def small_models(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    """Every order of this process trains models of the size of `base`."""
    full: Callable[[RetrainOrder], RetrainRecipe] = RetrainOrder.recipe

    def recipe(order: RetrainOrder) -> RetrainRecipe:
        asked = full(order)
        tiny: dict[str, Any] = {"base": str(base), "epochs": 1, "precision": "fp32"}
        return replace(
            asked,
            mining=replace(asked.mining, student_top=6, near_miss=4, random=2),
            judged_pairs=300,
            trust_assistant="one layer of chance learns nothing in one epoch",
            assistant=replace(asked.assistant, layers=1, held_out=0.3, **tiny),
            student=replace(asked.student, dimensions=(32,), **tiny),
        )

    monkeypatch.setattr(RetrainOrder, "recipe", recipe)
