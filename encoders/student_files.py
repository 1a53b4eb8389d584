"""What is known of a student without loading it: its version, its dimension, how long its texts are.

Importing torch takes seconds and hundreds of megabytes, which a process that only plans and counts does not need.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.models import content_digest, find_model
from keydistill.encoders.prompts import Prompts
from keydistill.encoders.student_layout import StudentLayout
from keydistill.encoders.text_tokens import TextTokens, shared_tokens
from keydistill.errors import StudentError


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """The files of a student that was found, and not loaded.

    Attributes:
        source: Model name or folder that it is loaded from.
        folder: Folder of its files.
        version: The `Student.version` that it has when it is loaded.
        dimension: The `Student.dimension` that it has when it is loaded.
        layout: Where its parts lie in the folder.
        prompts: Texts that stand before each keyphrase and each item.
    """

    source: str
    folder: Path
    version: str
    dimension: int
    layout: StudentLayout
    prompts: Prompts = field(default_factory=Prompts)

    @property
    def digest(self) -> str:
        """The part of the version that stands for the files alone, whatever they are called and cut to."""
        return self.version.rpartition("-")[2]

    @classmethod
    def find(cls, source: str, *, dimension: int | None = None) -> StudentFiles:
        """Find a student; see `Student.load` for the arguments.

        Raises:
            StudentError: It cannot be found, or has fewer dimensions.
        """
        folder = find_model(source)
        layout = StudentLayout.of(folder)
        full = layout.dimension()
        if dimension is not None and dimension > full:
            raise StudentError(
                f"student {source!r} has {full} dimensions, asked for {dimension}; ask for {full} or less"
            )
        is_folder = Path(source).expanduser().is_dir()
        return cls(
            source=str(folder) if is_folder else source,
            folder=folder,
            version=student_version(source, folder, dimension or full),
            dimension=dimension or full,
            layout=layout,
            prompts=Prompts.of(folder),
        )

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokens per keyphrase, special ones and its prompt included; see `Student.count_tokens`."""
        return self.tokens().counts(self.prompts.before_keyphrases(texts))

    def tokens(self) -> TextTokens:
        """The tokenizer of its transformer.

        Raises:
            StudentError: It has no fast tokenizer.
        """
        file = self.layout.items[0] / "tokenizer.json"
        if not file.is_file():
            raise StudentError(f"{file.parent} has no tokenizer.json; expected a fast tokenizer's files")
        return shared_tokens(file.read_text(encoding="utf-8"), self.layout.longest_input())


def student_version(source: str, folder: Path, dimension: int) -> str:
    """The version of the student in `folder` at a dimension; computed without loading it."""
    name, digest = Path(source).name, content_digest(folder)
    if prompts := Prompts.of(folder):
        # Versions that were embedded without their prompts have other vectors.
        digest = hashlib.sha256(json.dumps([digest, prompts.saved()]).encode()).hexdigest()
    return f"{name}-{dimension}d-{digest[:12]}"
