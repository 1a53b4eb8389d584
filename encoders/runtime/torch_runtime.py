"""The reference: the student as sentence-transformers computes it, in torch, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from encoders.runtime.protocol import RuntimeName
from encoders.student_layout import ITEM_ROUTE
from encoders.tokens import TokenBatch, shared_tokenizer
from errors import StudentError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

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

    def __init__(self, model: SentenceTransformer) -> None:
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
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for a third of a second, on a terminal that has ours
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            # By path, with everything on disk, so that the hub is not asked.
            model = SentenceTransformer(
                str(folder), device=device or ("cuda" if torch.cuda.is_available() else "cpu"), local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise StudentError(f"{folder} cannot be loaded as a student: {reason}; retrain or copy it again") from error
        items = _item_side(model)
        items.eval()
        for each in (model, items):
            # Its model card points back at it. Without that circle its memory is free as soon as nobody holds it, and
            # not at some later garbage collection, and collecting garbage stops all threads for half a second.
            each.model_card_data.model = None
        return cls(items)

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

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer without padding, cut at its longest input.

        The Rust tokenizer itself: the wrapper around it is five times slower.

        Raises:
            StudentError: It has none.
        """
        wrapped = getattr(self.model.tokenizer, "backend_tokenizer", None)
        if wrapped is None:
            raise StudentError(
                "the student has a slow tokenizer; expected one with a tokenizer.json (transformers' fast kind)"
            )
        return shared_tokenizer(wrapped.to_str(), self.model.max_seq_length or 512)


def _item_side(model: SentenceTransformer) -> SentenceTransformer:
    """The student without its table, if it has one: `encoders.static_side` computes that."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    router, *rest = model
    if not isinstance(router, Router):
        return model
    modules: list[Any] = [*cast(torch.nn.Sequential, router.sub_modules[ITEM_ROUTE]), *rest]
    return SentenceTransformer(modules=modules, device=str(model.device))
