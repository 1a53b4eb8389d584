"""The reference: the student in torch, on CPU or GPU, with the vectors that sentence-transformers computes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from encoders.runtime.protocol import RuntimeName
from encoders.student_layout import ITEM_ROUTE, StudentLayout
from encoders.tokens import TokenBatch
from errors import StudentError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from encoders.runtime.saved_bert import SavedBert

# Tokens per forward pass. On CPU more gains nothing and falls out of the cache (benchmarks/embedding.py).
_BATCH_TOKENS = {"cpu": 512, "cuda": 32_768}


class TorchRuntime:
    """Computes in fp32 with torch.

    Attributes:
        name: "torch".
        batch_tokens: As of `Runtime`.
        model: The student's modules, of an asymmetric one those that read items.
    """

    name: RuntimeName = "torch"

    def __init__(self, model: SentenceTransformer | SavedBert) -> None:
        self.model = model
        self.batch_tokens = _BATCH_TOKENS.get(model.device.type, _BATCH_TOKENS["cpu"])

    @classmethod
    def load(cls, folder: Path, *, threads: int | None = None, device: str | None = None) -> TorchRuntime:
        """Load a student's weights.

        Args:
            folder: Where its files are.
            threads: Threads for arithmetic on CPU; None leaves it to torch.
            device: "cpu" or "cuda"; None takes a GPU where there is one.

        Raises:
            StudentError: It cannot be loaded.
        """
        # Importing these costs seconds, which other runtimes do without.
        import torch
        from safetensors import SafetensorError

        from encoders.runtime.saved_bert import SavedBert

        if threads is not None:
            torch.set_num_threads(threads)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            return cls(SavedBert.load(StudentLayout.of(folder), device) or _by_the_library(folder, device))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = textwrap.shorten(str(error), 200, placeholder=" ...")
            raise StudentError(f"{folder} cannot be loaded as a student: {reason}; retrain or copy it again") from error

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """See `Runtime.run`."""
        import torch

        for places, tokens in batches:
            # Not around the loop: the mode would hold for whatever the receiver does between two batches.
            with torch.inference_mode():
                ids = torch.from_numpy(tokens).to(self.model.device)
                output = self.model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
                vectors = output["sentence_embedding"].float().cpu().numpy()
            yield places, vectors


def _by_the_library(folder: Path, device: str) -> SentenceTransformer:
    """The student without its table, if it has one: `encoders.static_side` computes that."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for a third of a second, on a terminal that has ours
    # By path, with everything on disk, so that the hub is not asked.
    whole = SentenceTransformer(str(folder), device=device, local_files_only=True)
    router, *rest = whole
    items = whole
    if isinstance(router, Router):
        modules: list[Any] = [*cast(torch.nn.Sequential, router.sub_modules[ITEM_ROUTE]), *rest]
        items = SentenceTransformer(modules=modules, device=device)
    items.eval()
    for each in (whole, items):
        # Its model card points back at it. Without that circle its memory is free as soon as nobody holds it, and not
        # at some later garbage collection, and collecting garbage stops all threads for half a second.
        each.model_card_data.model = None
    return items
