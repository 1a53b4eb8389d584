"""Models that embed and score: the student (bi-encoder), the assistant (cross-encoder)."""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")

from keydistill.encoders.assistant import Assistant, Calibration, Scores, assistant_version
from keydistill.encoders.batching import equal_length_batches
from keydistill.encoders.exact_search import nearest
from keydistill.encoders.int8_grid import INT8_SCALES, ScaledInput, rounded, scale_name
from keydistill.encoders.item_text import (
    ItemFields,
    ItemText,
    item_fields_of,
    item_text_of,
    read_model_file,
    write_model_file,
)
from keydistill.encoders.models import SAFETENSORS, content_digest, find_model
from keydistill.encoders.prompts import Prompts
from keydistill.encoders.student import Student, Vectors
from keydistill.encoders.student_files import StudentFiles, student_version
from keydistill.encoders.student_layout import ITEM_ROUTE, KEYPHRASE_ROUTE
from keydistill.encoders.student_settings import student_of
from keydistill.encoders.tokens import token_batches

__all__ = [
    "INT8_SCALES",
    "ITEM_ROUTE",
    "KEYPHRASE_ROUTE",
    "SAFETENSORS",
    "Assistant",
    "Calibration",
    "ItemFields",
    "ItemText",
    "Prompts",
    "ScaledInput",
    "Scores",
    "Student",
    "StudentFiles",
    "Vectors",
    "assistant_version",
    "content_digest",
    "equal_length_batches",
    "find_model",
    "item_fields_of",
    "item_text_of",
    "nearest",
    "read_model_file",
    "rounded",
    "scale_name",
    "student_of",
    "student_version",
    "token_batches",
    "write_model_file",
]
