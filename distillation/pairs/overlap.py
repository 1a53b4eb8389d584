"""Word overlap: the share of a keyphrase's words that an item's text has, in place of an opinion that nobody gave."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def word_overlap(pairs: pa.Table) -> NDArray[np.float32]:
    """Of each keyphrase's words, the share that title and category have; shape (n,), 0 to 1.

    A word weighs its inverse document frequency over the items of the table (Spärck Jones, 1972). A final "s" of longer
    words does not count.

    Args:
        pairs: Table of `title`, `category_path` and `keyphrase`.

    >>> pairs = pa.table({"title": ["Red shoes", "Blue shoes"], "category_path": [None, "Sport"]})
    >>> pairs = pairs.append_column("keyphrase", pa.array(["red shoe", "red shoe"]))
    >>> [round(float(share), 2) for share in word_overlap(pairs)]
    [1.0, 0.42]
    """
    texts = [
        f"{title} {category or ''}"
        for title, category in zip(pairs["title"].to_pylist(), pairs["category_path"].to_pylist(), strict=True)
    ]
    words_of = {text: frozenset(_words(text)) for text in texts}
    seen = Counter(word for words in words_of.values() for word in words)

    def share(text: str, keyphrase: str) -> float:
        weights = {word: math.log(1 + len(words_of) / (1 + seen[word])) for word in _words(keyphrase)}
        whole = sum(weights.values())
        return sum(weight for word, weight in weights.items() if word in words_of[text]) / whole if whole else 0.0

    shares = [share(*pair) for pair in zip(texts, pairs["keyphrase"].to_pylist(), strict=True)]
    return np.array(shares, dtype=np.float32)


def _words(text: str) -> list[str]:
    return [word.removesuffix("s") if len(word) > 3 else word for word in re.findall(r"\w+", text.lower())]
