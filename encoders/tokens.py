"""Batches of tokens of one length, made of texts on a thread of its own so that it overlaps with the arithmetic."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.text_tokens import TextTokens

# Texts are tokenized in slices of this size: their encodings take far more memory than their tokens.
SLICE = 2_048
# Batches that wait for the arithmetic, at the most.
_AHEAD = 64

Item = TypeVar("Item")


class TokenBatch(NamedTuple):
    """Texts of one token length.

    Attributes:
        places: Places of the texts among all texts, shape (n,).
        ids: Their tokens, special ones included, shape (n, length).
    """

    places: NDArray[np.intp]
    ids: NDArray[np.int64]


def token_batches(texts: Sequence[str], tokens: TextTokens, max_tokens: int) -> Iterator[TokenBatch]:
    """Batches over all texts, each text once.

    Batches are filled over slices: what a slice leaves of a length waits for the next one. So there are hardly more
    batches than if all texts had been sorted, and the tokens of a few slices are all that is in memory.

    Args:
        texts: n texts.
        tokens: Tokenizer of the student.
        max_tokens: Most tokens per batch; a batch has at least one text.
    """
    batches = _sliced_batches(texts, tokens, max_tokens)
    # A thread costs more than the tokens of a few texts.
    return ahead(batches, _AHEAD) if len(texts) > SLICE else batches


def _sliced_batches(texts: Sequence[str], tokens: TextTokens, max_tokens: int) -> Iterator[TokenBatch]:
    waiting: defaultdict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for start in range(0, len(texts), SLICE):
        for place, ids in enumerate(tokens(texts[start : start + SLICE]), start):
            waiting[len(ids)].append((place, ids))
        last = start + SLICE >= len(texts)
        # The longest first: memory peaks at once, and the remaining time of a progress bar is pessimistic, not rosy.
        for length in sorted(waiting, reverse=True):
            rows, size = waiting[length], max(1, max_tokens // max(1, length))
            ready = len(rows) if last else len(rows) - len(rows) % size
            for at in range(0, ready, size):
                places, ids_of = zip(*rows[at : min(at + size, ready)], strict=True)
                yield TokenBatch(np.array(places), np.array(ids_of, dtype=np.int64))
            del rows[:ready]


def ahead(items: Iterable[Item], size: int) -> Iterator[Item]:
    """The same items, computed on another thread while the caller works; at most `size` of them wait.

    An error of the other thread is raised here, after the items before it. Whoever stops early stops the thread too.

    >>> list(ahead(range(3), size=1))
    [0, 1, 2]
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=size)
    stopped = threading.Event()

    def put(item: Item | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
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
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()


class _End:
    """What follows the last item in the queue, with the error that ended the items, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
