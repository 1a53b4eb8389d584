"""The assistant's training. Files have the names of their twins in `keydistill.distillation.student`."""

from keydistill.distillation.assistant.calibration import calibration_error
from keydistill.distillation.assistant.data import GroupBy, LabelledPairs, judged_pairs
from keydistill.distillation.assistant.metrics import AssistantMetrics
from keydistill.distillation.assistant.recipe import AssistantRecipe
from keydistill.distillation.assistant.training import (
    AssistantTrainingPlan,
    TrainedAssistant,
    assistant_metrics,
    assistant_training_digest,
    plan_assistant_training,
    train_assistant,
)
from keydistill.distillation.assistant.verdicts import (
    APPROVED,
    REJECTED,
    Verdicts,
    chance_level,
    check_better_than_chance,
    check_order,
    nothing_to_teach,
)

__all__ = [
    "APPROVED",
    "REJECTED",
    "AssistantMetrics",
    "AssistantRecipe",
    "AssistantTrainingPlan",
    "GroupBy",
    "LabelledPairs",
    "TrainedAssistant",
    "Verdicts",
    "assistant_metrics",
    "assistant_training_digest",
    "calibration_error",
    "chance_level",
    "check_better_than_chance",
    "check_order",
    "judged_pairs",
    "nothing_to_teach",
    "plan_assistant_training",
    "train_assistant",
]
