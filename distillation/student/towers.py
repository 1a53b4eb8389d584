"""The sides of a student's model: one transformer for both, or a transformer for items and a table for keyphrases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import ITEM_ROUTE, KEYPHRASE_ROUTE
from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from torch import Tensor, nn

# Names of the table's parameters, as `learning_rate_mapping` of the trainer finds them.
TABLE_PARAMETERS = rf"sub_modules\.{KEYPHRASE_ROUTE}\."


def item_modules(model: SentenceTransformer) -> nn.Sequential:
    """The modules that read items: the transformer, its pooling, and what follows it on this side alone."""
    router = _router(model)
    return model if router is None else router.sub_modules[ITEM_ROUTE]


def table_of(model: SentenceTransformer) -> nn.EmbeddingBag | None:
    """The table that keyphrases are read by; None where the modules of the items read them."""
    router = _router(model)
    return None if router is None else router.sub_modules[KEYPHRASE_ROUTE][0].embedding


def transformer_of(model: SentenceTransformer) -> Any:
    """The transformer, as an object of the library transformers."""
    first: Any = item_modules(model)[0]
    return first.auto_model


def with_table(model: SentenceTransformer, table: Tensor) -> SentenceTransformer:
    """The model with a table for keyphrases in place of its transformer.

    Args:
        model: Symmetric model; its modules are used on.
        table: Table with a row per token of its vocabulary, shape (vocabulary, dimension).
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Router
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    static = StaticEmbedding(plain_tokenizer(model), embedding_weights=table.cpu())
    modules: list[Any] = list(model)
    shared = [modules.pop()] if isinstance(modules[-1], Normalize) else []
    router = Router.for_query_document(query_modules=[static], document_modules=modules)
    prompts = {name: text for name, text in model.prompts.items() if text}
    return SentenceTransformer(modules=[router, *shared], device=str(model.device), prompts=prompts)


def plain_tokenizer(model: SentenceTransformer) -> Tokenizer:
    """A copy of a symmetric model's tokenizer that neither pads nor cuts.

    Raises:
        TrainingError: Its tokenizer is not in Rust.
    """
    from tokenizers import Tokenizer

    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TrainingError("a table of tokens needs a base with a fast tokenizer (tokenizer.json); choose another")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def embedded(model: SentenceTransformer, texts: Sequence[str], route: str) -> NDArray[np.float32]:
    """Normalised vectors of texts as one side reads them, shape (n, dimension); a symmetric model has but one.

    The texts have their prompts already.
    """
    return np.asarray(
        model.encode(
            list(texts), task=route, prompt="", batch_size=64, normalize_embeddings=True, show_progress_bar=False
        )
    )


def _router(model: SentenceTransformer) -> Any:
    from sentence_transformers.base.modules import Router

    return model[0] if isinstance(model[0], Router) else None
