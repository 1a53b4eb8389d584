"""Loading of a student of the usual kind, a BERT and what stands behind it, from its files alone.

The library's own way has each transformer initialised before its weights are read, and parses a tokenizer that nobody
asks: ten times the work, all of it under the interpreter's lock. In a service that loads the next student beside the
present one, queries wait for that. Students of any other kind are left to the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from keydistill.encoders.runtime.bert import NO_WEIGHTS, UsualBert

if TYPE_CHECKING:
    from torch import nn

_MODULES = {
    "Pooling": "sentence_transformers.sentence_transformer.modules",
    "Dense": "sentence_transformers.base.modules",
    "Normalize": "sentence_transformers.base.modules",
}


class SavedBert(torch.nn.Module):
    """The modules of a student, called as the library's are: with features, of which it returns more.

    Attributes:
        device: Device that its weights are on.
    """

    def __init__(self, bert: BertModel, later_modules: list[nn.Module], device: str) -> None:
        super().__init__()
        self.bert = bert
        self.later_modules = torch.nn.ModuleList(later_modules)
        self.device = torch.device(device)
        self.to(self.device).eval()

    def forward(self, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tokens of texts of one length and their mask of ones, both of shape (n, length), to vectors.

        What stands behind the transformer is computed in fp32, whatever the transformer is computed in.

        Returns:
            `sentence_embedding`, shape (n, dimension), and more.
        """
        # Without a mask, for nothing is masked: so attention is computed by the fastest kernel that torch has.
        output = self.bert(input_ids=features["input_ids"], attention_mask=None)
        features_so_far: dict[str, Any] = {**features, "token_embeddings": output.last_hidden_state.float()}
        for module in self.later_modules:
            features_so_far = module(features_so_far)
        return features_so_far

    @classmethod
    def load(cls, files: UsualBert, device: str) -> SavedBert | None:
        """Load a student; None if its weights are not those of such a BERT.

        Args:
            files: The student.
            device: "cpu" or "cuda".

        Raises:
            OSError, ValueError, KeyError, RuntimeError, SafetensorError: A file is missing or damaged.
        """
        with torch.device("meta"):
            bert = BertModel(BertConfig.from_dict(dict(files.config)))
        keys = bert.load_state_dict(load_file(files.weights), strict=False, assign=True)
        if keys.missing_keys or set(keys.unexpected_keys) - NO_WEIGHTS:
            return None
        embeddings: Any = bert.embeddings
        embeddings.position_ids = torch.arange(bert.config.max_position_embeddings).expand((1, -1))
        embeddings.token_type_ids = torch.zeros(embeddings.position_ids.size(), dtype=torch.long)
        later_modules = [
            getattr(import_module(_MODULES[name]), name).load(str(folder)) for name, folder in files.later_modules
        ]
        return cls(bert, later_modules, device)
