"""A student of the usual kind in numpy on CPU, fp32: the reference where there is no torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.runtime.bert import BertWeights, UnusualError, UsualBert
from keydistill.encoders.runtime.numpy.bert import NumpyBert
from keydistill.encoders.runtime.protocol import RuntimeName
from keydistill.encoders.student_files import StudentFiles
from keydistill.encoders.tokens import TokenBatch
from keydistill.errors import RuntimeUnavailableError, StudentError


class NumpyRuntime:
    """A student in numpy, which computes batches one after another; numpy's BLAS shares each product among the cores.

    Attributes:
        name: "numpy".
        batch_tokens: Tokens per batch with which it is fastest.
    """

    name: RuntimeName = "numpy"
    batch_tokens = 512

    def __init__(self, bert: NumpyBert) -> None:
        self._bert = bert

    @classmethod
    def load(cls, files: StudentFiles) -> NumpyRuntime:
        """Load a student's weights.

        Raises:
            RuntimeUnavailableError: The student is not of the usual kind.
            StudentError: It cannot be read, or its weights do not fit its configuration.
        """
        from safetensors import SafetensorError

        try:
            usual = UsualBert.of(files.layout)
            if usual is None:
                raise UnusualError
            return cls(NumpyBert(BertWeights(usual, int8=False)))
        except UnusualError:
            raise RuntimeUnavailableError(
                f"student {files.version} is not of the usual kind, a BERT with mean pooling, which numpy computes"
            ) from None
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = textwrap.shorten(str(error), 200, placeholder=" ...")
            raise StudentError(
                f"{files.folder} cannot be loaded as a student: {reason}; retrain or copy it again"
            ) from error

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Sentence vectors batch by batch; see `Runtime.run`."""
        for places, tokens in batches:
            yield places, self._bert.vectors(tokens)
