"""From signals to a student: judge, assistant, distillation, evaluation, registry of models."""

from distillation.assistant_data import GroupBy, LabelledPairs, judged_pairs
from distillation.assistant_sizes import ASSISTANT_SIZES, AssistantSize
from distillation.classification import AssistantMetrics
from distillation.lineage import Change, InputFile, Lineage, difference, flattened
from distillation.model_version import KINDS, Kind, ModelVersion
from distillation.registry import Promotion, Registry, resolve_assistant, resolve_model, resolve_student
from distillation.scoring import SCORE_SCHEMA, ScoringPlan, ScoringSummary, plan_scoring, score_pairs
from distillation.train_assistant import (
    AssistantRecipe,
    TrainedAssistant,
    TrainingPlan,
    plan_training,
    train_assistant,
)

__all__ = [
    "ASSISTANT_SIZES",
    "KINDS",
    "SCORE_SCHEMA",
    "AssistantMetrics",
    "AssistantRecipe",
    "AssistantSize",
    "Change",
    "GroupBy",
    "InputFile",
    "Kind",
    "LabelledPairs",
    "Lineage",
    "ModelVersion",
    "Promotion",
    "Registry",
    "ScoringPlan",
    "ScoringSummary",
    "TrainedAssistant",
    "TrainingPlan",
    "difference",
    "flattened",
    "judged_pairs",
    "plan_scoring",
    "plan_training",
    "resolve_assistant",
    "resolve_model",
    "resolve_student",
    "score_pairs",
    "train_assistant",
]
