"""A student in int8 by kernels of our own, on CPUs that `int8_bert.c` is compiled for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.runtime.cpu import cores
from keydistill.encoders.runtime.native import layout as int8_layout
from keydistill.encoders.runtime.native.kernels import Int8Bert
from keydistill.encoders.runtime.protocol import RuntimeName
from keydistill.encoders.tokens import TokenBatch
from keydistill.errors import StudentError


class Int8Runtime:
    """A student in int8, which computes batches side by side, one per core.

    Attributes:
        name: "native-int8".
        batch_tokens: Tokens per batch with which it is fastest.
    """

    name: RuntimeName = "native-int8"
    # A fiftieth of a second for one core: enough that handing batches over costs nothing.
    batch_tokens = 1_024

    def __init__(self, weights: Path, *, threads: int | None = None) -> None:
        """Map the weights into memory.

        Args:
            weights: File that `keydistill.encoders.runtime.native.layout` wrote.
            threads: Threads for arithmetic; None takes one per core.

        Raises:
            RuntimeUnavailableError: The kernels cannot be used here; see `int8_kernels_version`.
            StudentError: The file cannot be read.
        """
        try:
            self._bert = Int8Bert(int8_layout.load(weights))
        except (OSError, ValueError) as error:
            raise StudentError(f"{weights} cannot be loaded: {error}; remove its folder") from error
        self._threads = threads or cores()

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Sentence vectors batch by batch; see `Runtime.run`."""
        upcoming = iter(batches)
        first_batches: list[TokenBatch] = []
        first_tokens = 0
        for batch in upcoming:
            first_batches.append(batch)
            first_tokens += batch.ids.size
            if first_tokens > self.batch_tokens:
                break
        if first_tokens <= self.batch_tokens:
            # The few texts of requests that came together are of many lengths, and so many batches: to start threads
            # took a third of the time that they take, and other requests have the other cores.
            for places, tokens in first_batches:
                yield places, self._bert.vectors(tokens)
            return
        busy: deque[tuple[NDArray[np.intp], Future[NDArray[np.float32]]]] = deque()
        # Each call has threads of its own, so that no process that is forked meanwhile misses them.
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="int8")
        try:
            for places, tokens in chain(first_batches, upcoming):
                # Twice as many as threads: while the receiver takes a batch, every thread has its next one.
                if len(busy) == 2 * self._threads:
                    yield _finished(*busy.popleft())
                busy.append((places, pool.submit(self._bert.vectors, tokens)))
            while busy:
                yield _finished(*busy.popleft())
        finally:
            # The receiver may have stopped early.
            pool.shutdown(cancel_futures=True)


def _finished(
    places: NDArray[np.intp], vectors: Future[NDArray[np.float32]]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    return places, vectors.result()
