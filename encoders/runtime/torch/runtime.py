"""The reference: the student in torch, on CPU or GPU, with the vectors that sentence-transformers computes.

On a GPU also in fp16, which is several times as fast.
"""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.models import SAFETENSORS
from keydistill.encoders.runtime.bert import UsualBert
from keydistill.encoders.runtime.protocol import RuntimeName
from keydistill.encoders.student_layout import ITEM_ROUTE, StudentLayout
from keydistill.encoders.tokens import TokenBatch
from keydistill.errors import RuntimeUnavailableError, StudentError

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from keydistill.encoders.runtime.torch.saved_bert import SavedBert

_PACKAGES = ("torch", "transformers", "sentence_transformers")
# Tokens per forward pass. On CPU more gains nothing and falls out of the cache (benchmarks/embedding.py).
_BATCH_TOKENS = {"cpu": 512, "cuda": 32_768}
# Batches that a GPU computes, or has computed, while the receiver takes the one before.
_AHEAD = 3


class TorchRuntime:
    """A student in torch, in fp32 unless its name says fp16.

    Attributes:
        name: "torch", or "torch-fp16".
        batch_tokens: Tokens per batch with which it is fastest.
        model: The student's modules, of an asymmetric one those that read items.
    """

    def __init__(self, model: SentenceTransformer | SavedBert, name: RuntimeName = "torch") -> None:
        self.name = name
        self.model = model
        self.batch_tokens = _BATCH_TOKENS.get(model.device.type, _BATCH_TOKENS["cpu"])

    @classmethod
    def load(cls, folder: Path, *, threads: int | None = None, device: str | None = None) -> TorchRuntime:
        """Load a student's weights.

        Args:
            folder: Folder of its files.
            threads: Threads for arithmetic on CPU; None leaves it to torch.
            device: "cpu" or "cuda"; None takes a GPU where there is one.

        Raises:
            StudentError: It cannot be loaded.
            RuntimeUnavailableError: torch is not installed.
        """
        if any(find_spec(package) is None for package in _PACKAGES):
            raise RuntimeUnavailableError("torch is not installed; pip install 'keydistill[train]'")
        # Importing these costs seconds, which other runtimes do without.
        import torch
        from safetensors import SafetensorError

        from keydistill.encoders.runtime.torch.saved_bert import SavedBert

        if threads is not None:
            torch.set_num_threads(threads)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            layout = StudentLayout.of(folder)
            usual = UsualBert.of(layout)
            saved = None if usual is None else SavedBert.load(usual, device)
            return cls(saved or _by_the_library(folder, device))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = textwrap.shorten(str(error), 200, placeholder=" ...")
            raise StudentError(f"{folder} cannot be loaded as a student: {reason}; retrain or copy it again") from error

    def in_fp16(self) -> TorchRuntime:
        """The same student with its transformer in fp16.

        Raises:
            RuntimeUnavailableError: It is not on a GPU, or not of the usual kind.
        """
        from copy import deepcopy

        import torch

        from keydistill.encoders.runtime.torch.saved_bert import SavedBert

        if self.model.device.type != "cuda":
            raise RuntimeUnavailableError("torch computes in fp16 on GPUs alone, and finds none here")
        if not isinstance(self.model, SavedBert):
            raise RuntimeUnavailableError("torch computes in fp16 a BERT with pooling and linear layers, and no other")
        model = deepcopy(self.model)
        torch.nn.Module.to(model.bert, torch.float16)
        return TorchRuntime(model, "torch-fp16")

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Sentence vectors batch by batch; see `Runtime.run`."""
        if self.model.device.type == "cpu":
            for places, tokens in batches:
                yield places, self._vectors(tokens).numpy()
            return
        # A GPU is told what to do next while it computes; the vectors come back meanwhile.
        started: deque[tuple[NDArray[np.intp], torch.Tensor, torch.cuda.Event]] = deque()
        for places, tokens in batches:
            started.append((places, *self._started(tokens)))
            if len(started) > _AHEAD:
                yield _finished(*started.popleft())
        while started:
            yield _finished(*started.popleft())

    def _vectors(self, tokens: NDArray[np.int64]) -> torch.Tensor:
        import torch

        # Not around the loop: the mode would hold for whatever the receiver does between two batches.
        with torch.inference_mode():
            ids = torch.from_numpy(tokens)
            if self.model.device.type != "cpu":
                ids = ids.pin_memory().to(self.model.device, non_blocking=True)
            output = self.model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
            vectors: torch.Tensor = output["sentence_embedding"].float()
        return vectors

    def _started(self, tokens: NDArray[np.int64]) -> tuple[torch.Tensor, torch.cuda.Event]:
        """A batch that is being computed: where its vectors will be, and what tells that they are there."""
        import torch

        vectors = self._vectors(tokens)
        # Only pinned memory is copied to while the caller goes on.
        host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        host.copy_(vectors, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return host, copied


def _finished(
    places: NDArray[np.intp], host: torch.Tensor, copied: torch.cuda.Event
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    copied.synchronize()
    # A copy: pinned memory is scarce, and the receiver may keep what it gets.
    return places, host.numpy().copy()


def _by_the_library(folder: Path, device: str) -> SentenceTransformer:
    """The student without its table, if it has one: `keydistill.encoders.static_side` computes that."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for a third of a second, on a terminal that has ours
    # By path, with everything on disk, so that the hub is not asked.
    student = SentenceTransformer(str(folder), device=device, local_files_only=True, model_kwargs=SAFETENSORS)
    router, *shared = student
    items = student
    if isinstance(router, Router):
        modules: list[Any] = [*cast(torch.nn.Sequential, router.sub_modules[ITEM_ROUTE]), *shared]
        items = SentenceTransformer(modules=modules, device=device)
    items.eval()
    for each in (student, items):
        # Its model card points back at it. Without that circle its memory is free as soon as nobody holds it, and not
        # at some later garbage collection, and collecting garbage stops all threads for half a second.
        each.model_card_data.model = None
    return items
