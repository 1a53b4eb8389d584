"""A retrain: mine, judge, train the assistant, score, train the student, judge its lists, evaluate, register."""

from keydistill.distillation.retrain.recipe import RetrainInputs, RetrainRecipe
from keydistill.distillation.retrain.retrain import STAGES, Retrain, RetrainResult
from keydistill.distillation.retrain.stages import StageResult, digest_of
from keydistill.distillation.retrain.verdict import why_worse

__all__ = [
    "STAGES",
    "Retrain",
    "RetrainInputs",
    "RetrainRecipe",
    "RetrainResult",
    "StageResult",
    "digest_of",
    "why_worse",
]
