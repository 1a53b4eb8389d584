"""The registry of models: versions of students and assistants that are never changed once they are there."""

from keydistill.distillation.registry.lineage import Change, InputFile, Lineage, difference, flattened
from keydistill.distillation.registry.registry import (
    Promotion,
    Registry,
    resolve_assistant,
    resolve_model,
    resolve_student,
)
from keydistill.distillation.registry.version import KINDS, Kind, ModelVersion

__all__ = [
    "KINDS",
    "Change",
    "InputFile",
    "Kind",
    "Lineage",
    "ModelVersion",
    "Promotion",
    "Registry",
    "difference",
    "flattened",
    "resolve_assistant",
    "resolve_model",
    "resolve_student",
]
