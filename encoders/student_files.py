"""What can be told of a student without loading it: its version, its dimension, how long its texts are.

Importing torch takes seconds and hundreds of megabytes, which a process that only plans and counts does not need.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.models import content_digest, find_model
from encoders.tokens import shared_tokenizer
from errors import StudentError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Texts are tokenized in slices of this size: their encodings take far more memory than their tokens.
_TOKENIZE_SLICE = 8_192
# Keys under which the modules of sentence-transformers keep the length of their output, newest first.
_DIMENSION_KEYS = ("out_features", "embedding_dimension", "word_embedding_dimension")


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """A student that was found, not loaded.

    Attributes:
        source: What it is loaded from: a model name or a folder.
        folder: Where its files are.
        version: As of `Student.version`.
        dimension: As of `Student.dimension`.
    """

    source: str
    folder: Path
    version: str
    dimension: int

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
        full = _full_dimension(folder)
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
        )

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """See `Student.count_tokens`."""
        tokenizer = self.tokenizer()
        counts = np.empty(len(texts), dtype=np.int32)
        for start in range(0, len(texts), _TOKENIZE_SLICE):
            encodings = tokenizer.encode_batch_fast(list(texts[start : start + _TOKENIZE_SLICE]))
            counts[start : start + len(encodings)] = [len(encoding) for encoding in encodings]
        return counts

    def tokenizer(self) -> Tokenizer:
        """Its tokenizer without padding, cut at its longest input.

        Raises:
            StudentError: It has none of the fast kind.
        """
        file = self.folder / "tokenizer.json"
        if not file.is_file():
            raise StudentError(f"{self.folder} has no tokenizer.json; expected a fast tokenizer's files")
        return shared_tokenizer(file.read_text(encoding="utf-8"), _longest_input(self.folder))


def student_version(source: str, folder: Path, dimension: int) -> str:
    """The version of the student in `folder` at a dimension; computed without loading it."""
    name = Path(source).name
    return f"{name}-{dimension}d-{content_digest(folder)[:12]}"


def _full_dimension(folder: Path) -> int:
    for module in reversed(_json(folder / "modules.json")):
        config = folder / module["path"] / "config.json"
        found = _json(config) if module["path"] and config.is_file() else {}
        for key in _DIMENSION_KEYS:
            if isinstance(found.get(key), int):
                return int(found[key])
    raise StudentError(f"{folder} does not tell the dimension of its vectors; it needs a pooling module")


def _longest_input(folder: Path) -> int:
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        file = folder / name
        length = _json(file).get(key) if file.is_file() else None
        if isinstance(length, int) and length < 1_000_000:
            return length
    return 512


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudentError(f"{file} cannot be read ({error}); retrain or copy the student again") from None
