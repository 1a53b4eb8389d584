"""A loss, a shape or a size is a line of one table: whatever offers a choice takes it from there, and without torch."""

import subprocess
import sys
from typing import Any, get_args

import pytest
from torch import nn

from keydistill.cli.retrain import retrain
from keydistill.cli.train_student import student
from keydistill.distillation import (
    ASSISTANT_SIZES,
    SHAPE_NAMES,
    STUDENT_SHAPES,
    assistant_size,
    student_shape,
)
from keydistill.distillation.assistant import AssistantRecipe
from keydistill.distillation.losses import DISTILLATION_LOSSES, LOSS_NAMES, distillation_loss
from keydistill.distillation.student import StudentRecipe
from keydistill.errors import TrainingError
from keydistill.execution import RetrainOrder
from tests.support.places import ROOT


def test_names_lead_to_classes() -> None:
    assert [loss.name for loss in DISTILLATION_LOSSES] == [
        "pearson",
        "margin_mse",
        "cosent",
        "kl",
        "listnet",
        "margin_rank",
    ]
    for loss in DISTILLATION_LOSSES:
        assert distillation_loss(loss.name) is loss
        assert issubclass(loss.load(), nn.Module)
        assert loss.load().__name__ == loss.class_name
        made = loss.new(nn.Identity(), 7.0, 2.0)
        assert (getattr(made, "scale", None) == 7.0) == loss.scaled
        assert (getattr(made, "temperature", None) == 2.0) == loss.tempered
    with pytest.raises(
        TrainingError, match="distillation_loss is mse; expected pearson or margin_mse or cosent or kl or"
    ):
        distillation_loss("mse")


@pytest.mark.parametrize(
    ("option", "names"),
    [("distillation_loss", LOSS_NAMES), ("judgments_loss", LOSS_NAMES), ("shape", SHAPE_NAMES)],
)
def test_commands_and_orders_offer_what_the_table_has(option: str, names: tuple[str, ...]) -> None:
    for command in (student, retrain):
        parameter: Any = next(param for param in command.params if param.name == option)
        assert tuple(parameter.type.choices) == names
        assert f"[default: {getattr(StudentRecipe(), option)}]" in parameter.help
        assert option == "judgments_loss" or all(f"{name} (" in parameter.help for name in names)
    literal, _ = get_args(RetrainOrder.model_fields[option].annotation)
    assert get_args(literal) == names


def test_shapes_and_sizes_are_found_by_name() -> None:
    for shape in STUDENT_SHAPES:
        assert student_shape(shape.name) is shape
        recipe = StudentRecipe(shape=shape.name)
        assert (recipe.kept_layers, recipe.total_epochs) == (shape.layers, shape.epochs)
        assert recipe.keyphrase_table == shape.keyphrase_table
    assert [assistant_size(size.name) for size in ASSISTANT_SIZES] == [*ASSISTANT_SIZES]
    assert AssistantRecipe().size == ASSISTANT_SIZES[0].name


def test_choices_are_read_without_torch() -> None:
    code = (
        "import sys, keydistill.cli.train, keydistill.cli.retrain, keydistill.distillation.student\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout == "[]\n"
