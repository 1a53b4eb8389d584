"""The tokens of texts; those of words are remembered, for buyers use the same words again and again.

A tokenizer of the kind that BERT came with cuts a text at whitespace and punctuation, and what becomes of a word does
not depend on the words beside it. So a text of words that were seen before costs 3 microseconds of CPU time where the
tokenizer itself takes 19.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Texts are counted in slices of this size: their tokens take far more memory than their number.
_COUNTED_SLICE = 8_192
# Most words to remember. Part numbers of an inventory of millions are words too: what is remembered stays below some
# tens of megabytes.
_MOST_WORDS = 200_000
# Texts that the rule is exact for: printable ASCII. "[" may begin a special token, which is no word.
_PLAIN = re.compile(r"[ -Z\\-~]*")
_WORDS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9 ]")


class TextTokens:
    """A tokenizer without padding that remembers the tokens of words; threads may share one.

    Attributes:
        tokenizer: The tokenizer in Rust; not to be changed, for other students may share it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._rule = _Rule.of(tokenizer)

    def __call__(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[list[int]]:
        """Return the tokens of each text, cut at the longest input of its model.

        Args:
            texts: n texts.
            special_tokens: Whether to add the tokens that its model expects around a text.
        """
        rule = self._rule
        if rule is None:
            return self._by_the_tokenizer(list(texts), special_tokens)
        token_lists = [rule.tokens(text, special_tokens) for text in texts]
        uncovered = [place for place, tokens in enumerate(token_lists) if tokens is None]
        if uncovered:
            for place, tokens in zip(
                uncovered, self._by_the_tokenizer([texts[place] for place in uncovered], special_tokens), strict=True
            ):
                token_lists[place] = tokens
        return token_lists  # type: ignore[return-value]  # no element is None any more

    def counts(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokens per text, special ones included; shape (n,)."""
        slices = (texts[start : start + _COUNTED_SLICE] for start in range(0, len(texts), _COUNTED_SLICE))
        return np.fromiter((len(tokens) for part in slices for tokens in self(part)), dtype=np.int32, count=len(texts))

    def _by_the_tokenizer(self, texts: list[str], special_tokens: bool) -> list[list[int]]:
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=special_tokens)
        return [encoding.ids for encoding in encodings]


# Students of one base share their tokenizer, as threads do. Parsing it holds the interpreter lock for 20 ms, in which
# queries of a service that loads the next student stand still.
@lru_cache(maxsize=4)
def shared_tokens(serialised: str, longest_input: int | None) -> TextTokens:
    """The `TextTokens` of a tokenizer; callers that ask for the same one share it.

    Args:
        serialised: The tokenizer as `Tokenizer.to_str` writes it.
        longest_input: Tokens that a text is cut to; None keeps the limit that was serialised.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(serialised)
    tokenizer.no_padding()
    if longest_input is not None:
        tokenizer.enable_truncation(max_length=longest_input)
    return TextTokens(tokenizer)


class _Words(dict[str, list[int]]):
    """The tokens of words; asks the tokenizer for those that are new."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, word: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        if len(self) < _MOST_WORDS:
            self[word] = tokens
        return tokens


class _Rule:
    """The rule by which a tokenizer of BERT's kind makes tokens of plain text."""

    def __init__(self, words: _Words, lowered: bool, around: tuple[list[int], list[int]], longest: int | None) -> None:
        self._of_word: Callable[[str], list[int]] = words.__getitem__
        self._lowered = lowered
        self._before, self._after = around
        self._longest = longest

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> _Rule | None:
        """The rule of a tokenizer; None for one of another kind."""
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        normalizer, truncation = tokenizer.normalizer, tokenizer.truncation
        usual = (
            isinstance(normalizer, BertNormalizer)
            and normalizer.clean_text
            and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
            and isinstance(tokenizer.model, WordPiece)
            and (truncation is None or truncation["direction"] == "right")
            # An added token that is no special one may stand in the midst of plain words.
            and all(
                token.special and token.content.startswith("[")
                for token in tokenizer.get_added_tokens_decoder().values()
            )
        )
        around = _around(tokenizer)
        if not usual or around is None:
            return None
        longest = None if truncation is None else int(truncation["max_length"])
        return cls(_Words(tokenizer), bool(normalizer.lowercase), around, longest)

    def tokens(self, text: str, special_tokens: bool) -> list[int] | None:
        """The tokens of a text; None where the rule does not hold."""
        if not _PLAIN.fullmatch(text):
            return None
        words = _WORDS.findall(text.lower() if self._lowered else text)
        tokens = list(chain.from_iterable(map(self._of_word, words)))
        if not special_tokens:
            return tokens if self._longest is None else tokens[: self._longest]
        if self._longest is not None:
            tokens = tokens[: max(0, self._longest - len(self._before) - len(self._after))]
        return [*self._before, *tokens, *self._after]


def _around(tokenizer: Tokenizer) -> tuple[list[int], list[int]] | None:
    """The special tokens before and after a text; None if they are not the same for every text."""
    bare: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
    with_special: list[int] = tokenizer.encode("a").ids
    for place in range(len(with_special) - len(bare) + 1):
        if with_special[place : place + len(bare)] == bare:
            return with_special[:place], with_special[place + len(bare) :]
    return None
