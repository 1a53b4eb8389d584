import math
from typing import Any

import pytest

from keydistill.distillation.student import StudentRecipe
from keydistill.errors import StudentError, TrainingError


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"evaluations": 0}, "evaluations is 0; expected a number from 1 up"),
        ({"patience": 0}, "patience is 0; expected a number from 1 up"),
        ({"epochs": 0}, "epochs is 0; expected a number above 0"),
        ({"clicks_share": 1}, "clicks_share is 1; expected a number from 0 up, below 1"),
        ({"epochs": math.nan}, "epochs is nan; expected a number above 0"),
        ({"epochs": math.inf}, "epochs is inf; expected a number above 0"),
        ({"batch_size": 0}, "batch_size is 0; expected a number from 1 up"),
        ({"learning_rate": -1e-4}, "learning_rate is -0.0001; expected a number above 0"),
        ({"scale": 0}, "scale is 0; expected a number above 0"),
        ({"hard_negatives": -1}, "hard_negatives is -1; expected a number from 0 up"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a number from 0 up, below 1"),
        ({"layers": 0}, "layers is 0; expected a number from 1 up, or None for all"),
        ({"dimensions": (128, 0)}, r"dimensions is \(128, 0\); expected numbers from 1 up"),
        ({"distillation_loss": "mse"}, "distillation_loss is mse; expected pearson or margin_mse or cosent or kl"),
        ({"weights": {"clicks": -1.0}}, "weights is {'clicks': -1.0}; expected numbers from 0 up for clicks, judged_"),
        ({"weights": {"views": 1.0}}, "weights is {'views': 1.0}; expected"),
        ({"precision": "fp16"}, "precision is fp16; expected auto, fp32 or bf16"),
    ],
)
def test_choices_that_cannot_be_are_refused(choice: dict[str, Any], expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        StudentRecipe(**choice)


def test_a_template_without_the_title_is_refused() -> None:
    with pytest.raises(StudentError, match=r"expected \{title\}"):
        StudentRecipe(item_text="{leaf}")
