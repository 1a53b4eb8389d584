"""The student that the settings ask for: the one place where they become arguments."""

from keydistill.encoders.student import Student
from keydistill.settings import Settings


def student_of(
    settings: Settings,
    source: str | None = None,
    *,
    dimension: int | None = None,
    texts: int | None = None,
    is_measured: bool = False,
) -> Student:
    """Load a student into the runtime, and with the threads, that the settings name.

    Args:
        settings: Settings that say how it is computed, and where exported students are kept.
        source: A folder or a model name; None takes the setting `student`.
        dimension: Matryoshka dimension; None takes that of the settings.
        texts: Number of texts that it is to embed, roughly, by which the runtime "auto" chooses; None if nobody knows.
        is_measured: Whether "auto" takes the reference, so that a measurement is the same wherever it is made.

    Raises:
        StudentError: See `Student.load`.
    """
    return Student.load(
        settings.student if source is None else source,
        dimension=settings.dimension if dimension is None else dimension,
        threads=settings.threads,
        runtime="torch" if is_measured and settings.runtime == "auto" else settings.runtime,
        cache=settings.runtime_cache,
        texts=texts,
    )
