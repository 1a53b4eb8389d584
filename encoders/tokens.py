"""From texts to batches of tokens of one length, on a thread of its own so that it overlaps with the arithmetic."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders.batching import equal_length_batches

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Texts are tokenized in slices of this size: their encodings take far more memory than their tokens.
SLICE = 2_048
# Batches that wait for the arithmetic, at the most.
_AHEAD = 64

Item = TypeVar("Item")


class TokenBatch(NamedTuple):
    """Texts of one token length.

    Attributes:
        places: Where the texts stand among all, shape (n,).
        ids: Their tokens, special ones included, shape (n, length).
    """

    places: NDArray[np.intp]
    ids: NDArray[np.int64]


# Students of one base share their tokenizer, as threads do. Parsing it holds the interpreter lock for 20 ms, in which
# queries of a service that loads the next student stand still.
@lru_cache(maxsize=4)
def shared_tokenizer(serialised: str, longest_input: int | None) -> Tokenizer:
    """A Rust tokenizer without padding; not to be changed, for others have it too.

    Args:
        serialised: What `Tokenizer.to_str` gave.
        longest_input: Tokens that a text is cut to; None leaves that to what was serialised.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(serialised)
    tokenizer.no_padding()
    if longest_input is not None:
        tokenizer.enable_truncation(max_length=longest_input)
    return tokenizer


def token_batches(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> Iterator[TokenBatch]:
    """Batches over all texts, each text once.

    Batches are filled over slices: what a slice leaves of a length waits for the next one. So there are hardly more
    batches than if all texts had been sorted, and the tokens of a few slices are all that is in memory.

    Args:
        texts: n texts.
        tokenizer: Without padding.
        max_tokens: Most tokens per batch; a batch has at least one text.
    """
    made = _sliced_batches(texts, tokenizer, max_tokens)
    # A thread costs more than the tokens of a few texts.
    return ahead(made, _AHEAD) if len(texts) > SLICE else made


def _sliced_batches(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> Iterator[TokenBatch]:
    waiting: list[tuple[int, NDArray[np.int64]]] = []
    for start in range(0, len(texts), SLICE):
        encodings = tokenizer.encode_batch_fast(list(texts[start : start + SLICE]))
        waiting += [
            (start + place, np.asarray(encoding.ids, dtype=np.int64)) for place, encoding in enumerate(encodings)
        ]
        last = start + SLICE >= len(texts)
        left: list[tuple[int, NDArray[np.int64]]] = []
        for batch in equal_length_batches([len(ids) for _, ids in waiting], max_tokens):
            rows = [waiting[place] for place in batch.tolist()]
            if last or len(rows) >= max(1, max_tokens // max(1, len(rows[0][1]))):
                yield TokenBatch(np.array([place for place, _ in rows]), np.stack([ids for _, ids in rows]))
            else:
                left += rows
        waiting = left


def ahead(items: Iterable[Item], size: int) -> Iterator[Item]:
    """The same items, computed on another thread while the caller works; at most `size` of them wait.

    An error of the other thread is raised here, after the items before it. Whoever stops early stops the thread too.

    >>> list(ahead(range(3), size=1))
    [0, 1, 2]
    """
    made: queue.Queue[Item | _End] = queue.Queue(maxsize=size)
    stopped = threading.Event()

    def put(item: Item | _End) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_End(None))
        except BaseException as error:  # raised again by whoever waits for the next item
            put(_End(error))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()


class _End:
    """Follows the last item; with the error that ended them, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
