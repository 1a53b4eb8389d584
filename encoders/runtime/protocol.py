"""The protocol of a runtime: the arithmetic of a student, from tokens to sentence vectors."""

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.tokens import TokenBatch

RuntimeName = Literal["torch", "torch-fp16", "openvino-fp32", "openvino-bf16", "openvino-int8", "native-int8", "numpy"]
WantedRuntime = Literal["auto", RuntimeName]

# Most cosine distance between the vectors that any runtime and the reference, numpy or torch in fp32, give a text of
# the sample. Trained students are three times as far off in bf16 as the base (5.9e-5, 2.2e-5) and keep 0.989 or more of
# the first ten neighbours among 19,244 real queries (the base 0.997); see docs/runtimes.md.
TOLERANCE = 2e-4
# The same for int8, which rounds what goes into each linear layer.
INT8_TOLERANCE = 1e-3


class Runtime(Protocol):
    """What computes the sentence vectors of one student; threads may share one."""

    @property
    def name(self) -> RuntimeName:
        """Which runtime this is."""
        ...

    @property
    def batch_tokens(self) -> int:
        """Tokens per batch with which it is fastest."""
        ...

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Sentence vectors batch by batch.

        Args:
            batches: Tokens; taken as they are needed, so that whoever makes them can work at the same time.

        Yields:
            The places of a batch, and its vectors, shape (n, full dimension), as the student's last module gives them:
            neither cut to a Matryoshka dimension nor normalised again. A text's vector does not depend on its batch,
            to rounding. The vectors are the receiver's to keep.
        """
        ...
