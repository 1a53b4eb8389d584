"""The usual kind of student, a BERT and what stands behind it, as its files describe it; read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.encoders.student_layout import StudentLayout, read_json

# What may follow the transformer, by the last name of its class.
LATER_MODULES = ("Pooling", "Dense", "Normalize")
# Counts that some releases of transformers stored among the weights.
NO_WEIGHTS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})
# What the library notes of a transformer that reads text and gives a vector per token, under each of its releases.
_PLAIN = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}


@dataclass(frozen=True, slots=True)
class UsualBert:
    """A student of the usual kind.

    Attributes:
        transformer: Folder of the BERT.
        config: Content of its `config.json`.
        later_modules: The modules behind it: the last name of the class, and the folder.
    """

    transformer: Path
    config: Mapping[str, Any]
    later_modules: tuple[tuple[str, Path], ...]

    @property
    def weights(self) -> Path:
        """The file of the BERT's weights, fp32."""
        return self.transformer / "model.safetensors"

    @classmethod
    def of(cls, layout: StudentLayout) -> UsualBert | None:
        """The student whose parts lie there, of an asymmetric one the side of the items; None if it is of another kind.

        Raises:
            StudentError: A file is missing or damaged.
        """
        transformer, *later_modules = layout.items
        names = [name.rpartition(".")[2] for name in layout.item_types[1:]]
        config = read_json(transformer / "config.json")
        usual = cls(transformer, config, tuple(zip(names, later_modules, strict=True)))
        if _is_usual(transformer, config) and usual.weights.is_file() and all(name in LATER_MODULES for name in names):
            return usual
        return None


def _is_usual(transformer: Path, config: Mapping[str, Any]) -> bool:
    file = transformer / "sentence_bert_config.json"
    notes = read_json(file) if file.is_file() else {}
    return (
        config.get("model_type") == "bert"
        and config.get("dtype", config.get("torch_dtype", "float32")) == "float32"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and not config.get("quantization_config")
        and all(notes.get(key, plain) == plain for key, plain in _PLAIN.items())
        and not (set(notes) - set(_PLAIN) - {"max_seq_length", "do_lower_case"})
    )
