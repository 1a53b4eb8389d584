"""The student: a bi-encoder that embeds keyphrases and items into one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.batching import equal_length_batches
from encoders.item_text import ItemText, item_text_of
from encoders.models import find_model
from encoders.student_files import student_version
from errors import StudentError

if TYPE_CHECKING:
    # Importing these costs seconds; `Student.load` does it, and nobody else needs to.
    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding, Tokenizer

Vectors = NDArray[np.float32]
Progress = Callable[[int], None]

# Texts are tokenized in slices of this size: their encodings take far more memory than their tokens.
_TOKENIZE_SLICE = 8_192
# Tokens per forward pass. On CPU more gains nothing and falls out of the cache (benchmarks/embedding.py).
_BATCH_TOKENS = {"cpu": 512, "cuda": 32_768}


class Student:
    """One version of the student, loaded.

    Attributes:
        source: What it was loaded from: a model name or a folder.
        version: Name, dimension and a hash over weights, tokenizer and configuration. Vectors of two students may be
            compared only if their versions are equal.
        dimension: Length of its vectors.
        item_text: How it reads an item.
    """

    def __init__(
        self,
        source: str,
        version: str,
        dimension: int,
        model: SentenceTransformer,
        item_text: ItemText | None = None,
    ) -> None:
        self.source = source
        self.version = version
        self.dimension = dimension
        self.item_text = item_text or ItemText()
        self._model = model
        self._tokenizer = _tokenizer_of(model)

    @classmethod
    def load(
        cls, source: str, *, dimension: int | None = None, threads: int | None = None, device: str | None = None
    ) -> Student:
        """Load a student.

        Args:
            source: A folder that `SentenceTransformer.save_pretrained` wrote, or a model name.
            dimension: Matryoshka dimension: vectors are cut to it and normalised again (arXiv 2205.13147). None
                keeps them whole.
            threads: Threads for arithmetic on CPU; None leaves it to torch.
            device: "cpu" or "cuda"; None takes a GPU where there is one.

        Raises:
            StudentError: It cannot be found or loaded, or has fewer dimensions.
        """
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for a third of a second, on a terminal that has ours
        folder = find_model(source)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            # By path, with everything on disk, so that the hub is not asked.
            model = SentenceTransformer(
                str(folder), device=device or ("cuda" if torch.cuda.is_available() else "cpu"), local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise StudentError(f"{folder} cannot be loaded as a student: {reason}; retrain or copy it again") from error
        model.eval()
        # Its model card points back at the model. Without that circle a student is freed as soon as nobody holds it,
        # and not by some later garbage collection, which stops all threads for half a second.
        model.model_card_data.model = None
        full = model.get_embedding_dimension()
        if full is None:
            raise StudentError(f"{folder} does not tell the dimension of its vectors; it needs a pooling module")
        if dimension is not None and dimension > full:
            raise StudentError(
                f"student {source!r} has {full} dimensions, asked for {dimension}; ask for {full} or less"
            )
        is_folder = Path(source).expanduser().is_dir()
        return cls(
            source=str(folder) if is_folder else source,
            version=student_version(source, folder, dimension or full),
            dimension=dimension or full,
            model=model,
            item_text=item_text_of(folder),
        )

    def __repr__(self) -> str:
        return f"Student({self.version!r})"

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokens per text, special ones included, as the student sees it (cut at its longest input); shape (n,)."""
        return np.fromiter((len(encoding) for encoding in self._encode(texts)), dtype=np.int32, count=len(texts))

    def embed_keyphrases(self, keyphrases: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Embed buyer queries.

        Args:
            keyphrases: n texts.
            progress: Called with the number of texts done after each batch.

        Returns:
            L2-normalised vectors, shape (n, dimension).
        """
        return self._embed(keyphrases, progress)

    def embed_items(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        progress: Progress | None = None,
    ) -> Vectors:
        """Embed items.

        Args:
            titles: n titles.
            categories: The category of each as a path ("A > B > C"), or None; the student's template says what becomes
                of it.
            progress: Called with the number of items done after each batch.

        Returns:
            L2-normalised vectors, shape (n, dimension).
        """
        return self._embed(self.item_text.render_all(titles, categories), progress)

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        encodings: list[Encoding] = []
        for start in range(0, len(texts), _TOKENIZE_SLICE):
            encodings.extend(self._tokenizer.encode_batch_fast(list(texts[start : start + _TOKENIZE_SLICE])))
        return encodings

    def _embed(self, texts: Sequence[str], progress: Progress | None) -> Vectors:
        import torch

        token_ids = [np.asarray(encoding.ids, dtype=np.int64) for encoding in self._encode(texts)]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        device = self._model.device
        with torch.inference_mode():
            for batch in equal_length_batches([len(ids) for ids in token_ids], _BATCH_TOKENS[device.type]):
                ids = torch.from_numpy(np.stack([token_ids[index] for index in batch])).to(device)
                output = self._model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
                vectors[batch] = output["sentence_embedding"][:, : self.dimension].float().cpu().numpy()
                if progress is not None:
                    progress(len(batch))
        # The cut vectors need it, and a model without a normalising module too.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        return vectors


def _tokenizer_of(model: SentenceTransformer) -> Tokenizer:
    """The model's tokenizer without padding, cut at its longest input.

    The Rust tokenizer itself: the wrapper around it is five times slower.
    """
    wrapped = getattr(model.tokenizer, "backend_tokenizer", None)
    if wrapped is None:
        raise StudentError(
            "the student has a slow tokenizer; expected one with a tokenizer.json (transformers' fast kind)"
        )
    return _tokenizer(wrapped.to_str(), model.max_seq_length or 512)


# Students of one base share their tokenizer, as threads do. Parsing it holds the interpreter lock for 20 ms, in which
# queries of a service that loads the next student stand still.
@lru_cache(maxsize=4)
def _tokenizer(serialised: str, longest_input: int) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(serialised)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=longest_input)
    return tokenizer
