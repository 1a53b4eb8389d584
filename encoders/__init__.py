"""Models that embed and score: the student (bi-encoder), the assistant (cross-encoder)."""

from encoders.assistant import Assistant, Calibration, Scores, assistant_version
from encoders.batching import equal_length_batches
from encoders.exact_search import nearest
from encoders.item_text import ItemText, item_text_of, read_model_file, write_model_file
from encoders.models import content_digest, find_model
from encoders.runtime import INT8_TOLERANCE, TOLERANCE, RuntimeName, WantedRuntime
from encoders.student import Progress, Student, Vectors
from encoders.student_files import StudentFiles, student_version
from encoders.student_layout import ITEM_ROUTE, KEYPHRASE_ROUTE

__all__ = [
    "INT8_TOLERANCE",
    "ITEM_ROUTE",
    "KEYPHRASE_ROUTE",
    "TOLERANCE",
    "Assistant",
    "Calibration",
    "ItemText",
    "Progress",
    "RuntimeName",
    "Scores",
    "Student",
    "StudentFiles",
    "Vectors",
    "WantedRuntime",
    "assistant_version",
    "content_digest",
    "equal_length_batches",
    "find_model",
    "item_text_of",
    "nearest",
    "read_model_file",
    "student_version",
    "write_model_file",
]
