"""Students without a model: a vector is chance that follows from the student's name and the text."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from keydistill.encoders import ItemFields, ItemText, Student, StudentFiles
from keydistill.encoders.student_layout import StudentLayout
from keydistill.errors import StudentError
from keydistill.progress import NO_PROGRESS, Progress

STUDENTS = ("red", "blue")
_DIMENSION = 16


@dataclass(frozen=True)
class StubStudent:
    """As much of `Student` and of `StudentFiles` as the write path and the read path ask for."""

    source: str
    dimension: int = _DIMENSION
    layout: StudentLayout = field(default_factory=lambda: StudentLayout((), ()))
    runtime: str = "stub"
    runtime_reason: str = "it has no model"
    item_text: ClassVar[ItemText] = ItemText()

    @property
    def version(self) -> str:
        return f"{self.source}-{self.dimension}d-stub"

    @property
    def folder(self) -> Path:
        return Path("/students") / self.source

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], dtype=np.int32)

    def embed_keyphrases(self, keyphrases: Sequence[str], progress: Progress = NO_PROGRESS) -> np.ndarray:
        progress.advance(len(keyphrases))
        rows = [self._vector(text) for text in keyphrases]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dimension)

    def embed_items(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        progress: Progress = NO_PROGRESS,
        fields: Sequence[ItemFields | None] | None = None,
    ) -> np.ndarray:
        return self.embed_keyphrases(self.item_text.render_all(titles, categories, fields), progress)

    def _vector(self, text: str) -> np.ndarray:
        seed = hashlib.sha256(f"{self.source}/{text}".encode()).digest()[:8]
        vector = np.random.default_rng(int.from_bytes(seed)).standard_normal(self.dimension)
        return vector / np.linalg.norm(vector)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every student found and loaded be one of these."""

    def found(source: str, **_: object) -> StubStudent:
        if source not in STUDENTS:
            raise StudentError(f"no student {source!r}")
        return StubStudent(source)

    monkeypatch.setattr(Student, "load", found)
    monkeypatch.setattr(StudentFiles, "find", found)
