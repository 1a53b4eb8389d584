"""The untrained assistant that a training begins with: a base's transformer, or a new one, under a new head."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keydistill.distillation.shapes import AssistantSize, assistant_size
from keydistill.distillation.training import set_dropout, training_attention
from keydistill.encoders import SAFETENSORS, find_model
from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from keydistill.distillation.assistant.recipe import AssistantRecipe


def base_model(recipe: AssistantRecipe) -> CrossEncoder:
    """The base's transformer (or a new one) with as many layers as the recipe keeps, and a new classification head.

    Seeds torch.

    Raises:
        StudentError: The base cannot be found.
        TrainingError: It cannot be loaded, has fewer layers, or reads fewer tokens than the recipe asks for.
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder
    from transformers import set_seed

    set_seed(recipe.seed)
    size = assistant_size(recipe.size)
    folder = find_model(recipe.base)
    layers = recipe.layers or size.layers
    options: dict[str, Any] = {
        "num_labels": 1,
        "max_length": recipe.max_length,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "local_files_only": True,
        "model_kwargs": {**SAFETENSORS, **training_attention()},
    }
    try:
        if size.hidden_size is None:
            model: CrossEncoder = CrossEncoder(str(folder), **options)
            cut_layers(model, layers)
            if recipe.frozen_embeddings:
                transformer: Any = model.model
                transformer.get_input_embeddings().weight.requires_grad_(False)
        else:
            with tempfile.TemporaryDirectory() as new_bert:
                _write_new_bert(Path(new_bert), folder, size, size.hidden_size, layers)
                model = CrossEncoder(new_bert, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise TrainingError(f"{folder} cannot be the base of an assistant: {reason}; copy it again") from error
    positions = getattr(model.config, "max_position_embeddings", recipe.max_length)
    if recipe.max_length > positions:
        raise TrainingError(
            f"{folder} reads {positions} tokens at the most, asked for {recipe.max_length}; ask for less"
        )
    set_dropout(model, recipe.dropout)
    return model


def cut_layers(model: CrossEncoder, layers: int) -> None:
    """Keep the first layers of a BERT.

    Raises:
        TrainingError: It has fewer.
    """
    transformer: Any = getattr(model.model, "base_model", None)
    encoder = getattr(transformer, "encoder", None)
    present = getattr(encoder, "layer", ())
    if not 1 <= layers <= len(present):
        raise TrainingError(
            f"cannot keep {layers} layers of a base that has {len(present)}; expected 1 to {len(present)}"
        )
    transformer.encoder.layer = present[:layers]
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
