"""Models that embed and score: the student (bi-encoder)."""

from encoders.batching import equal_length_batches
from encoders.models import content_digest, find_model
from encoders.student import Progress, Student, Vectors, student_version

__all__ = [
    "Progress",
    "Student",
    "Vectors",
    "content_digest",
    "equal_length_batches",
    "find_model",
    "student_version",
]
