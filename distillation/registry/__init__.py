"""The registry of models: versions of students and assistants that are never changed once they are there."""

from keydistill.distillation.registry.lineage import InputFile, Lineage, LineageDifference, differences, flattened
from keydistill.distillation.registry.registry import (
    Registry,
    resolve_assistant,
    resolve_model,
    resolve_student,
)
from keydistill.distillation.registry.version import MODEL_KINDS, ModelKind, ModelVersion, Promotion

__all__ = [
    "MODEL_KINDS",
    "InputFile",
    "Lineage",
    "LineageDifference",
    "ModelKind",
    "ModelVersion",
    "Promotion",
    "Registry",
    "differences",
    "flattened",
    "resolve_assistant",
    "resolve_model",
    "resolve_student",
]
