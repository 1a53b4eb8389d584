"""The assistant's training. Files have the names of their twins in `keydistill.distillation.student`."""

from keydistill.distillation.assistant.calibration import calibration_error
from keydistill.distillation.assistant.data import GroupBy, LabelledPairs, judged_pairs
from keydistill.distillation.assistant.metrics import AssistantMetrics
from keydistill.distillation.assistant.recipe import AssistantRecipe
from keydistill.distillation.assistant.sizes import ASSISTANT_SIZES, AssistantSize
from keydistill.distillation.assistant.training import (
    TrainedAssistant,
    TrainingPlan,
    assistant_metrics,
    plan_training,
    train_assistant,
    training_digest,
)
from keydistill.distillation.assistant.verdicts import APPROVED, REJECTED, Verdicts

__all__ = [
    "APPROVED",
    "ASSISTANT_SIZES",
    "REJECTED",
    "AssistantMetrics",
    "AssistantRecipe",
    "AssistantSize",
    "GroupBy",
    "LabelledPairs",
    "TrainedAssistant",
    "TrainingPlan",
    "Verdicts",
    "assistant_metrics",
    "calibration_error",
    "judged_pairs",
    "plan_training",
    "train_assistant",
    "training_digest",
]
