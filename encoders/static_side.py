"""The keyphrase side of an asymmetric student: a table of token vectors, of which a text's are added up.

It needs no torch. A text costs its tokenization and a microsecond.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.text_tokens import TextTokens, shared_tokens
from keydistill.encoders.tokens import SLICE, ahead
from keydistill.errors import StudentError

# Slices whose tokens wait for the arithmetic, at the most.
_AHEAD = 4


class StaticSide:
    """The keyphrase side of an asymmetric student: a table of token vectors with its tokenizer.

    The table has the weights of its tokens in it, so that the sum of a text's rows has the direction of the weighted
    mean of its tokens' vectors; their number makes no difference once vectors are normalised.
    """

    def __init__(self, table: NDArray[np.float32], tokens: TextTokens, unknown: int | None = None) -> None:
        """A side of what was loaded.

        Args:
            table: A row per token, shape (vocabulary, dimension).
            tokens: Tokenizer whose tokens are numbers of rows.
            unknown: Token that stands for a text without any, as one of combining accents alone; None leaves its
                vector 0.
        """
        self._table = table
        self._text_tokens = tokens
        self._unknown = unknown

    @classmethod
    def load(cls, folder: Path, dimension: int) -> StaticSide:
        """Load what `StaticEmbedding` of sentence-transformers wrote.

        Args:
            folder: Folder of the module.
            dimension: Columns of the table to keep, the first ones.

        Raises:
            StudentError: It cannot be read, or its table has fewer columns or fewer rows than tokens.
        """
        from safetensors import safe_open

        try:
            serialised = (folder / "tokenizer.json").read_text(encoding="utf-8")
            tokens = shared_tokens(serialised, None)
            tokenizer = tokens.tokenizer
            with safe_open(folder / "model.safetensors", framework="numpy") as weights:
                table = weights.get_tensor("embedding.weight")
        except Exception as error:  # a damaged tokenizer raises nothing more special
            reason = str(error).strip().partition("\n")[0]
            raise StudentError(
                f"{folder} cannot be loaded as a keyphrase side: {reason}; retrain or copy it again"
            ) from error
        rows, columns = table.shape
        if rows < tokenizer.get_vocab_size() or columns < dimension:
            raise StudentError(
                f"{folder} has a table of {rows} tokens and {columns} dimensions; expected "
                f"{tokenizer.get_vocab_size()} tokens and {dimension} dimensions at least"
            )
        unknown = json.loads(serialised)["model"].get("unk_token")
        return cls(
            np.ascontiguousarray(table[:, :dimension], dtype=np.float32),
            tokens,
            None if unknown is None else tokenizer.token_to_id(unknown),
        )

    def run(self, texts: Sequence[str]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Sums of the rows of each text's tokens, slice by slice.

        A text's vector is the same to the bit whatever stands beside it: rows are added in the order of its tokens.

        Args:
            texts: n texts.

        Yields:
            Where the texts stand among all, and their vectors, shape (texts of the slice, dimension), not normalised.
        """
        slices = (slice(start, start + SLICE) for start in range(0, len(texts), SLICE))
        tokenized = ((places, self._tokens(texts[places])) for places in slices)
        for places, (ids, bounds) in ahead(tokenized, _AHEAD) if len(texts) > SLICE else tokenized:
            sums = np.zeros((len(bounds) - 1, self._table.shape[1]), dtype=np.float32)
            has_tokens = np.diff(bounds) > 0
            if has_tokens.any():
                # For a text without tokens `reduceat` would give the row that follows.
                sums[has_tokens] = np.add.reduceat(self._table[ids], bounds[:-1][has_tokens], axis=0)
            yield places, sums

    def _tokens(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Tokens of all texts in a row, and where each text's tokens begin, followed by the end of the last one."""
        ids = self._text_tokens(texts, special_tokens=False)
        if self._unknown is not None:
            ids = [own or [self._unknown] for own in ids]
        bounds = np.zeros(len(ids) + 1, dtype=np.int32)
        np.cumsum(np.fromiter(map(len, ids), dtype=np.int32, count=len(ids)), out=bounds[1:])
        return np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(bounds[-1])), bounds
