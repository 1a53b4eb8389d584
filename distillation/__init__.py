"""From signals to a student: judge, assistant, distillation, evaluation, registry of models."""

from distillation.assistant_data import GroupBy, LabelledPairs, judged_pairs
from distillation.assistant_recipe import AssistantRecipe
from distillation.assistant_sizes import ASSISTANT_SIZES, AssistantSize
from distillation.averaging import average_students
from distillation.classification import AssistantMetrics
from distillation.lineage import Change, InputFile, Lineage, difference, flattened
from distillation.mine import MINED_SCHEMA, Mined, MiningRecipe, mine
from distillation.model_version import KINDS, Kind, ModelVersion
from distillation.registry import Promotion, Registry, resolve_assistant, resolve_model, resolve_student
from distillation.retrain import Retrain, RetrainInputs, RetrainRecipe, RetrainResult
from distillation.score_files import load_scores
from distillation.scoring import SCORE_SCHEMA, ScoringPlan, ScoringSummary, plan_scoring, score_pairs
from distillation.stages import digest_of
from distillation.student_data import Pairs, StudentData
from distillation.student_recipe import DistillationLoss, Shape, StudentRecipe
from distillation.student_tables import student_data
from distillation.train_assistant import (
    TrainedAssistant,
    TrainingPlan,
    assistant_metrics,
    plan_training,
    train_assistant,
    training_digest,
)
from distillation.train_student import TrainedStudent, student_training_digest, train_student
from distillation.verdicts import Verdicts

__all__ = [
    "ASSISTANT_SIZES",
    "KINDS",
    "MINED_SCHEMA",
    "SCORE_SCHEMA",
    "AssistantMetrics",
    "AssistantRecipe",
    "AssistantSize",
    "Change",
    "DistillationLoss",
    "GroupBy",
    "InputFile",
    "Kind",
    "LabelledPairs",
    "Lineage",
    "Mined",
    "MiningRecipe",
    "ModelVersion",
    "Pairs",
    "Promotion",
    "Registry",
    "Retrain",
    "RetrainInputs",
    "RetrainRecipe",
    "RetrainResult",
    "ScoringPlan",
    "ScoringSummary",
    "Shape",
    "StudentData",
    "StudentRecipe",
    "TrainedAssistant",
    "TrainedStudent",
    "TrainingPlan",
    "Verdicts",
    "assistant_metrics",
    "average_students",
    "difference",
    "digest_of",
    "flattened",
    "judged_pairs",
    "load_scores",
    "mine",
    "plan_scoring",
    "plan_training",
    "resolve_assistant",
    "resolve_model",
    "resolve_student",
    "score_pairs",
    "student_data",
    "student_training_digest",
    "train_assistant",
    "train_student",
    "training_digest",
]
