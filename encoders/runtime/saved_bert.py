"""Loads a student of the usual kind, a BERT and what stands behind it, from its files alone.

The library's own way has each transformer initialised before its weights are read, and parses a tokenizer that nobody
asks: ten times the work, all of it under the interpreter's lock. In a service that loads the next student beside the
present one, queries wait for that. Students of any other kind are the library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from encoders.student_layout import StudentLayout, read_json

if TYPE_CHECKING:
    from torch import nn

# What may follow the transformer, by the last name of its class.
_FOLLOWING = {
    "Pooling": "sentence_transformers.sentence_transformer.modules",
    "Dense": "sentence_transformers.base.modules",
    "Normalize": "sentence_transformers.base.modules",
}
# What the library notes of a transformer that reads text and gives a vector per token, under each of its releases.
_PLAIN = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
# Counts that some releases of transformers stored among the weights.
_NO_WEIGHTS = {"embeddings.position_ids", "embeddings.token_type_ids"}


class SavedBert(torch.nn.Module):
    """The modules of a student, called as the library's are: with features, of which it returns more.

    Attributes:
        device: Where its weights are.
    """

    def __init__(self, bert: BertModel, following: list[nn.Module], device: str) -> None:
        super().__init__()
        self.bert = bert
        self.following = torch.nn.ModuleList(following)
        self.device = torch.device(device)
        self.to(self.device).eval()

    def forward(self, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tokens and their mask, both of shape (n, length), to `sentence_embedding` of shape (n, dimension)."""
        output = self.bert(input_ids=features["input_ids"], attention_mask=features["attention_mask"])
        found: dict[str, Any] = {**features, "token_embeddings": output.last_hidden_state}
        for module in self.following:
            found = module(found)
        return found

    @classmethod
    def load(cls, layout: StudentLayout, device: str) -> SavedBert | None:
        """The student whose parts lie there, of an asymmetric one the side of the items; None if it is of another kind.

        Args:
            layout: Where its parts are.
            device: "cpu" or "cuda".

        Raises:
            OSError, ValueError, KeyError, RuntimeError, SafetensorError: A file is missing or damaged.
        """
        transformer, *following = layout.items
        names = [name.rpartition(".")[2] for name in layout.item_types[1:]]
        config = read_json(transformer / "config.json")
        weights = transformer / "model.safetensors"
        if not (_is_usual(transformer, config) and weights.is_file() and all(name in _FOLLOWING for name in names)):
            return None
        with torch.device("meta"):
            bert = BertModel(BertConfig.from_dict(config))
        keys = bert.load_state_dict(load_file(weights), strict=False, assign=True)
        if keys.missing_keys or set(keys.unexpected_keys) - _NO_WEIGHTS:
            return None
        embeddings: Any = bert.embeddings
        embeddings.position_ids = torch.arange(bert.config.max_position_embeddings).expand((1, -1))
        embeddings.token_type_ids = torch.zeros(embeddings.position_ids.size(), dtype=torch.long)
        loaded = [
            getattr(import_module(_FOLLOWING[name]), name).load(str(folder))
            for name, folder in zip(names, following, strict=True)
        ]
        return cls(bert, loaded, device)


def _is_usual(transformer: Path, config: Mapping[str, Any]) -> bool:
    noted = transformer / "sentence_bert_config.json"
    said = read_json(noted) if noted.is_file() else {}
    return (
        config.get("model_type") == "bert"
        and config.get("dtype", config.get("torch_dtype", "float32")) == "float32"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and not config.get("quantization_config")
        and all(said.get(key, plain) == plain for key, plain in _PLAIN.items())
        and not (set(said) - set(_PLAIN) - {"max_seq_length", "do_lower_case"})
    )
