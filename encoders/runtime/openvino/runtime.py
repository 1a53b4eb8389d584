"""The student's graph in OpenVINO on CPU, in fp32, bf16 or int8."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.runtime.cpu import Precision, cores
from keydistill.encoders.runtime.protocol import RuntimeName
from keydistill.encoders.tokens import TokenBatch
from keydistill.errors import StudentError

if TYPE_CHECKING:
    from openvino import InferRequest

NAMES: dict[Precision, RuntimeName] = {"fp32": "openvino-fp32", "bf16": "openvino-bf16", "int8": "openvino-int8"}
# What OpenVINO calls them as hints. In int8 whatever is no linear layer is computed in fp32.
_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
# Numbers of a token that are rounded to 8 bits with one step of their own, in int8; 0 rounds none. With 64 vectors are
# off by a fifth less, with 128 by a tenth more, in a tenth more time and in a fiftieth less.
_ROUNDED_TOGETHER: dict[Precision, int] = {"fp32": 0, "bf16": 0, "int8": 96}
# Texts per batch are filled up to 1, 2, 4 or a multiple of this. OpenVINO keeps what it prepared for each shape that it
# met, and a service meets as many as it has requests: without this, its memory grew to three times as much.
_FILLED_UP_TO = 8


class OpenVinoRuntime:
    """A student's graph, which computes batches side by side, one per core.

    Attributes:
        name: "openvino-fp32", "openvino-bf16" or "openvino-int8".
        batch_tokens: Tokens per batch with which it is fastest.
    """

    # In bf16 a thirtieth faster than 512, in fp32 the same (4,000 real queries, 2 cores, median of four).
    batch_tokens = 1_024

    def __init__(self, graph: Path, precision: Precision, *, threads: int | None = None) -> None:
        """Compile a graph.

        Args:
            graph: The `.xml` of a student's graph; of int8, one whose weights are int8.
            precision: Precision of the arithmetic.
            threads: Threads for arithmetic; None takes one per core.

        Raises:
            StudentError: The graph cannot be read.
        """
        import openvino as ov

        streams = threads or cores()
        try:
            self._compiled = ov.Core().compile_model(
                graph,
                "CPU",
                {
                    # Without it OpenVINO takes bf16 wherever the CPU has it.
                    "INFERENCE_PRECISION_HINT": _HINTS[precision],
                    "DYNAMIC_QUANTIZATION_GROUP_SIZE": _ROUNDED_TOGETHER[precision],
                    # Its one kernel for attention is slower for texts of a few tokens than the products one by one.
                    # (No public property; the release of OpenVINO is pinned.)
                    "SNIPPETS_MODE": "DISABLE",
                    # One thread per batch: threads that share a batch wait for each other.
                    "PERFORMANCE_HINT": "THROUGHPUT",
                    "NUM_STREAMS": streams,
                    "INFERENCE_NUM_THREADS": streams,
                    # Several processes on one machine would otherwise all pin their threads to the first cores.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise StudentError(f"{graph} cannot be loaded: {reason}; remove its folder") from error
        self.name = NAMES[precision]
        self._streams = streams
        self._spare: list[list[InferRequest]] = []

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Sentence vectors batch by batch; see `Runtime.run`.

        It keeps requests of its own instead of `AsyncInferQueue`, whose callbacks run on OpenVINO's threads: so the
        receiver gets batches in order and on its own thread, and an error where it can be caught.
        """
        try:
            idle = self._spare.pop()
        except IndexError:
            idle = []
        busy: deque[tuple[NDArray[np.intp], InferRequest]] = deque()
        try:
            for places, tokens in batches:
                # Twice as many as streams: while the receiver takes a batch, every stream has its next one.
                if len(busy) == 2 * self._streams:
                    yield self._finished(busy, idle)
                request = idle.pop() if idle else self._compiled.create_infer_request()
                request.start_async({0: _filled_up(tokens)})
                busy.append((places, request))
            while busy:
                yield self._finished(busy, idle)
        finally:
            # The receiver may have stopped early; a request that still computes is of no use to anybody else.
            for _, request in busy:
                request.wait()
            self._spare.append(idle)

    @staticmethod
    def _finished(
        busy: deque[tuple[NDArray[np.intp], InferRequest]], idle: list[InferRequest]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        places, request = busy.popleft()
        request.wait()
        # A copy: the request's memory is written again by its next batch.
        vectors = np.array(request.get_output_tensor(0).data[: len(places)], dtype=np.float32)
        idle.append(request)
        return places, vectors


def _filled_up(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """A batch with its last text repeated, so that few different shapes are computed.

    >>> [len(_filled_up(np.zeros((texts, 7), dtype=np.int64))) for texts in (1, 2, 3, 5, 8, 9, 146)]
    [1, 2, 4, 8, 8, 16, 152]
    """
    texts = len(tokens)
    multiple = min(_FILLED_UP_TO, 1 << (texts - 1).bit_length())
    missing = -texts % multiple
    return np.pad(tokens, ((0, missing), (0, 0)), mode="edge") if missing else tokens
