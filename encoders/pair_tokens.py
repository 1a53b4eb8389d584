"""Pairs of item and keyphrase as a cross-encoder reads them: one sequence, the item first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keydistill.errors import AssistantError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# Pairs are tokenized in slices of this size: their encodings take far more memory than their tokens.
_TOKENIZE_SLICE = 8_192


@dataclass(frozen=True, slots=True)
class PairTokens:
    """One pair; both arrays have its length.

    Attributes:
        ids: Tokens, special ones included.
        types: 0 for the item's tokens, 1 for the keyphrase's, as BERT wants them.
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]


class PairTokenizer:
    """A tokenizer of pairs that cuts the end of the item where a pair is too long.

    Args:
        wrapped: The tokenizer of a transformers model. Its Rust core is used: the wrapper is several times slower.
        max_length: Most tokens of a pair, special ones included.

    Raises:
        AssistantError: It has no Rust core.
    """

    def __init__(self, wrapped: object, max_length: int) -> None:
        from tokenizers import Tokenizer

        core = getattr(wrapped, "backend_tokenizer", None)
        if core is None:
            raise AssistantError(
                "the assistant has a slow tokenizer; expected one with a tokenizer.json (transformers' fast kind)"
            )
        self.max_length = max_length
        # Two copies: truncation is a state of a tokenizer.
        self._pairs: Tokenizer = Tokenizer.from_str(core.to_str())
        self._pairs.no_padding()
        self._pairs.enable_truncation(max_length=max_length, strategy="only_first")
        self._keyphrases: Tokenizer = Tokenizer.from_str(core.to_str())
        self._keyphrases.no_padding()
        self._keyphrases.no_truncation()

    def tokenize(self, items: Sequence[str], keyphrases: Sequence[str]) -> list[PairTokens]:
        """The tokens of n pairs."""
        pair_tokens = []
        for start in range(0, len(items), _TOKENIZE_SLICE):
            part = slice(start, start + _TOKENIZE_SLICE)
            pairs = list(zip(items[part], self._short(keyphrases[part]), strict=True))
            pair_tokens += [_tokens(encoding) for encoding in self._pairs.encode_batch_fast(pairs)]
        return pair_tokens

    def _short(self, keyphrases: Sequence[str]) -> list[str]:
        """Keyphrases cut to half of the length: only the item is truncated, and some of it must remain."""
        longest = self.max_length // 2
        short = list(keyphrases)
        # A token has at least one character; few keyphrases are so long that their tokens need to be counted.
        for place in [place for place, text in enumerate(short) if len(text) > longest]:
            encoding = self._keyphrases.encode(short[place], add_special_tokens=False)
            if len(encoding.ids) > longest:
                short[place] = short[place][: encoding.offsets[longest - 1][1]]
        return short


def _tokens(encoding: Encoding) -> PairTokens:
    return PairTokens(np.asarray(encoding.ids, dtype=np.int64), np.asarray(encoding.type_ids, dtype=np.int64))
