"""The model that a student's training begins with, before it is turned and has a table: the base, cut to its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keydistill.distillation.student.towers import table_of, transformer_of
from keydistill.distillation.training import set_dropout, training_attention
from keydistill.encoders import SAFETENSORS, ItemText, Student, find_model
from keydistill.errors import TrainingError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from keydistill.distillation.student.recipe import StudentRecipe


def base_model(recipe: StudentRecipe) -> SentenceTransformer:
    """The base with as many layers as the recipe keeps; seeds torch.

    Raises:
        TrainingError: It has fewer layers, or a table for keyphrases that the recipe's shape has no place for.
        StudentError: It cannot be found.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import set_seed

    set_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SentenceTransformer(
        str(find_model(recipe.base)),
        device=device,
        local_files_only=True,
        model_kwargs={**SAFETENSORS, **training_attention()},
    )
    if table_of(model) is not None and not recipe.keyphrase_table:
        raise TrainingError(
            f"{recipe.base} reads keyphrases with a table, which shape {recipe.shape} does not; expected another base, "
            "or shape static"
        )
    set_dropout(model, recipe.dropout)
    if recipe.kept_layers is not None:
        cut_layers(model, recipe.kept_layers)
    if recipe.frozen_embeddings:
        transformer_of(model).get_input_embeddings().weight.requires_grad_(False)
    return model


def untrained_student(recipe: StudentRecipe, threads: int | None = None) -> Student:
    """The base, with all its layers, as a student that reads of an item what the trained one will.

    Raises:
        StudentError: It cannot be found.
    """
    student = Student.load(recipe.base, threads=threads)
    student.item_text = ItemText(recipe.item_text)
    return student


def cut_layers(model: SentenceTransformer, layers: int) -> None:
    """Keep some layers of a BERT, evenly spread from the first to the last.

    The first reads what the word embeddings say and no other layer does: of six layers the first, third and last learn
    more than the second, fourth and last.

    Raises:
        TrainingError: It has fewer, or another architecture.
    """
    from torch import nn

    transformer = transformer_of(model)
    encoder = getattr(transformer, "encoder", None)
    if not hasattr(encoder, "layer"):
        raise TrainingError(
            f"cannot keep {layers} layers of a {type(transformer).__name__}; expected BERT, RoBERTa or MPNet; keep all "
            "layers, in a shape other than three"
        )
    full = len(transformer.encoder.layer)
    if not 1 <= layers <= full:
        raise TrainingError(f"cannot keep {layers} layers of a base that has {full}; expected 1 to {full}")
    kept_layers = np.linspace(0, full - 1, layers).round().astype(int)
    transformer.encoder.layer = nn.ModuleList(transformer.encoder.layer[index] for index in kept_layers)
    transformer.config.num_hidden_layers = layers
