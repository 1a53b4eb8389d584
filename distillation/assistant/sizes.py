"""Sizes of assistants, and a new assistant of a size."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keydistill.distillation.training import set_dropout, training_attention
from keydistill.encoders import find_model
from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


@dataclass(frozen=True, slots=True)
class AssistantSize:
    """A size.

    Attributes:
        name: As commands take it.
        layers: Transformer layers; of a pretrained base the first ones are kept.
        learning_rate: That suits it.
        hidden_size: None keeps the base and its weights; a number makes a new BERT of that width, with random weights
            and the tokenizer of the base.
        attention_heads: Of a new BERT.
    """

    name: str
    layers: int
    learning_rate: float
    hidden_size: int | None = None
    attention_heads: int = 4


# The last is BERT-mini of arXiv 1908.08962, which the sister paper's assistant is, without that one's pre-training: it
# needs far more pairs than the others.
ASSISTANT_SIZES = (
    AssistantSize("minilm-6", layers=6, learning_rate=1e-4),
    AssistantSize("minilm-3", layers=3, learning_rate=2e-4),
    AssistantSize("bert-mini", layers=4, learning_rate=3e-4, hidden_size=256),
)


def assistant_size(name: str) -> AssistantSize:
    """The size of that name.

    Raises:
        TrainingError: There is none.
    """
    for size in ASSISTANT_SIZES:
        if size.name == name:
            return size
    names = ", ".join(size.name for size in ASSISTANT_SIZES)
    raise TrainingError(f"there is no assistant of size {name!r}; expected one of {names}")


def new_assistant(
    size: AssistantSize,
    base: str,
    *,
    layers: int | None,
    max_length: int,
    dropout: float = 0.0,
    frozen_embeddings: bool = True,
    seed: int,
) -> CrossEncoder:
    """An untrained assistant: the base's transformer (or a new one) and a new classification head.

    Args:
        size: Its size.
        base: Folder or name of a sentence-transformers model.
        layers: Instead of the size's.
        max_length: Tokens of a pair at the most.
        dropout: Of all layers while it is trained.
        frozen_embeddings: Whether the word embeddings of a pretrained base are not trained.
        seed: Of what is random; torch is seeded.

    Raises:
        StudentError: The base cannot be found.
        TrainingError: It cannot be loaded, has fewer layers, or reads fewer tokens.
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder
    from transformers import set_seed

    set_seed(seed)
    folder = find_model(base)
    wanted = layers or size.layers
    options: dict[str, Any] = {
        "num_labels": 1,
        "max_length": max_length,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "local_files_only": True,
        "model_kwargs": training_attention(),
    }
    try:
        if size.hidden_size is None:
            model: CrossEncoder = CrossEncoder(str(folder), **options)
            _keep_layers(model, wanted)
            if frozen_embeddings:
                transformer: Any = model.model
                transformer.get_input_embeddings().weight.requires_grad_(False)
        else:
            with tempfile.TemporaryDirectory() as fresh:
                _write_new_bert(Path(fresh), folder, size, size.hidden_size, wanted)
                model = CrossEncoder(fresh, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise TrainingError(f"{folder} cannot be the base of an assistant: {reason}; copy it again") from error
    positions = getattr(model.config, "max_position_embeddings", max_length)
    if max_length > positions:
        raise TrainingError(f"{folder} reads {positions} tokens at the most, asked for {max_length}; ask for less")
    set_dropout(model, dropout)
    return model


def _keep_layers(model: CrossEncoder, layers: int) -> None:
    transformer: Any = getattr(model.model, "base_model", None)
    encoder = getattr(transformer, "encoder", None)
    found = getattr(encoder, "layer", ())
    if not 1 <= layers <= len(found):
        raise TrainingError(f"cannot keep {layers} layers of a base that has {len(found)}; expected 1 to {len(found)}")
    transformer.encoder.layer = found[:layers]
    transformer.config.num_hidden_layers = layers


def _write_new_bert(folder: Path, base: Path, size: AssistantSize, hidden_size: int, layers: int) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    tokenizer.save_pretrained(str(folder))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=size.attention_heads,
        intermediate_size=4 * hidden_size,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(str(folder))
