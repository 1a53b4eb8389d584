"""The student: a bi-encoder that embeds keyphrases and items into one space.

A symmetric one reads both with its transformer. An asymmetric one reads items with its transformer, and keyphrases with
a table of token vectors (`keydistill.encoders.static_side`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.item_text import ItemFields, ItemText, item_text_of
from keydistill.encoders.prompts import Prompts
from keydistill.encoders.runtime import Runtime, RuntimeName, WantedRuntime, load_runtime
from keydistill.encoders.static_side import StaticSide
from keydistill.encoders.student_files import StudentFiles
from keydistill.encoders.text_tokens import TextTokens
from keydistill.encoders.tokens import token_batches
from keydistill.progress import NO_PROGRESS, Progress

Vectors = NDArray[np.float32]
# What turns distinct texts into vectors, some at a time, with their places among the texts.
_Reader = Callable[[Sequence[str]], Iterable[tuple[NDArray[np.intp] | slice, Vectors]]]

# Where exported students are kept if the caller does not say, as in a notebook.
_CACHE = Path("~/.cache/keydistill/runtimes")


class Student:
    """A loaded version of the student.

    Attributes:
        source: Model name or folder that it was loaded from.
        version: Name, dimension and a hash over weights, tokenizer and configuration. Vectors of two students may be
            compared only if their versions are equal.
        dimension: Length of its vectors.
        item_text: Template of the text that stands for an item.
        prompts: Texts that stand before each keyphrase and each item.
        runtime_reason: A clause that says why its runtime was taken.
    """

    def __init__(
        self,
        source: str,
        version: str,
        dimension: int,
        runtime: Runtime,
        tokens: TextTokens,
        item_text: ItemText | None = None,
        keyphrase_side: StaticSide | None = None,
        prompts: Prompts = Prompts(),  # noqa: B008  # it is immutable
        runtime_reason: str = "",
    ) -> None:
        self.source = source
        self.version = version
        self.dimension = dimension
        self.item_text = item_text or ItemText()
        self.prompts = prompts
        self._runtime = runtime
        self.runtime_reason = runtime_reason
        self._tokens = tokens
        self._keyphrase_side = keyphrase_side

    @classmethod
    def load(
        cls,
        source: str,
        *,
        dimension: int | None = None,
        threads: int | None = None,
        device: str | None = None,
        runtime: WantedRuntime = "torch",
        cache: Path | None = None,
        texts: int | None = None,
    ) -> Student:
        """Load a student.

        Args:
            source: A folder that `SentenceTransformer.save_pretrained` wrote, or a model name.
            dimension: Matryoshka dimension: vectors are cut to it and normalised again (arXiv 2205.13147). None
                keeps them whole.
            threads: Threads for arithmetic on CPU; None takes one per core.
            device: "cpu" or "cuda"; None takes a GPU where there is one.
            runtime: Name of what computes the vectors; see `load_runtime`. All give the same version, and the same
                vectors to `TOLERANCE`.
            cache: Folder in which exported students are kept; None takes a folder in the user's home.
            texts: Number of texts that it is to embed, roughly, by which "auto" chooses; None if nobody knows.

        Raises:
            StudentError: It cannot be found or loaded, or has fewer dimensions.
            StorageError: It cannot be exported for want of a place to write to.
        """
        files = StudentFiles.find(source, dimension=dimension)
        table = files.layout.keyphrases
        chosen = load_runtime(
            files, runtime, cache=cache or _CACHE.expanduser(), threads=threads, device=device, texts=texts
        )
        return cls(
            source=files.source,
            version=files.version,
            dimension=files.dimension,
            runtime=chosen.runtime,
            runtime_reason=chosen.reason,
            tokens=files.tokens(),
            item_text=item_text_of(files.folder),
            keyphrase_side=None if table is None else StaticSide.load(table, files.dimension),
            prompts=files.prompts,
        )

    def __repr__(self) -> str:
        return f"Student({self.version!r})"

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokens per keyphrase as its transformer sees it; shape (n,).

        Special ones and those of its prompt are included, and it is cut at its longest input.
        """
        return self._tokens.counts(self.prompts.before_keyphrases(texts))

    def embed_keyphrases(self, keyphrases: Sequence[str], progress: Progress = NO_PROGRESS) -> Vectors:
        """Embed buyer queries.

        Args:
            keyphrases: n texts.
            progress: Advanced by the number of texts done after each batch.

        Returns:
            L2-normalised vectors, shape (n, dimension).
        """
        side = self._keyphrase_side
        texts = self.prompts.before_keyphrases(keyphrases)
        return self._embed(texts, self._read if side is None else side.run, progress)

    def embed_items(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        progress: Progress = NO_PROGRESS,
        fields: Sequence[ItemFields | None] | None = None,
    ) -> Vectors:
        """Embed items.

        Args:
            titles: n titles.
            categories: The category of each as a path ("A > B > C"), or None; the student's template says what becomes
                of it.
            progress: Advanced by the number of items done after each batch.
            fields: Further fields of each item, for the template.

        Returns:
            L2-normalised vectors, shape (n, dimension).
        """
        texts = self.prompts.before_items(self.item_text.render_all(titles, categories, fields))
        return self._embed(texts, self._read, progress)

    @property
    def runtime(self) -> RuntimeName:
        """Name of the runtime that computes its transformer."""
        return self._runtime.name

    @property
    def is_asymmetric(self) -> bool:
        """Whether it reads keyphrases with a table."""
        return self._keyphrase_side is not None

    def _read(self, texts: Sequence[str]) -> Iterable[tuple[NDArray[np.intp], Vectors]]:
        return self._runtime.run(token_batches(texts, self._tokens, self._runtime.batch_tokens))

    def _embed(self, texts: Sequence[str], read: _Reader, progress: Progress) -> Vectors:
        places: dict[str, int] = {}
        place_of = np.fromiter(
            (places.setdefault(text, len(places)) for text in texts), dtype=np.intp, count=len(texts)
        )
        times = np.bincount(place_of, minlength=len(places))
        vectors = np.empty((len(places), self.dimension), dtype=np.float32)
        for batch, full_vectors in read(list(places)):
            cut = full_vectors[:, : self.dimension]
            # Cut vectors need it, as do those of a model without a normalising module, and those of a table. It is
            # done here, and not once for all of them, because a batch is still in the cache.
            vectors[batch] = cut / np.linalg.norm(cut, axis=1, keepdims=True).clip(min=1e-12)
            progress.advance(int(times[batch].sum()))
        return vectors if len(places) == len(texts) else vectors[place_of]
