"""The way from signals to a student: judge, assistant, distillation, evaluation, registry of models."""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")

from keydistill.distillation.shapes import (
    ASSISTANT_SIZES,
    SHAPE_NAMES,
    SIZE_NAMES,
    STUDENT_SHAPES,
    AssistantSize,
    ShapeName,
    StudentShape,
    assistant_size,
    student_shape,
)

__all__ = [
    "ASSISTANT_SIZES",
    "SHAPE_NAMES",
    "SIZE_NAMES",
    "STUDENT_SHAPES",
    "AssistantSize",
    "ShapeName",
    "StudentShape",
    "assistant_size",
    "student_shape",
]
