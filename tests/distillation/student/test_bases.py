"""Bases of the usual architectures, with random weights, from training to vectors."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from keydistill.distillation.student import train_student
from keydistill.encoders import Prompts, Student, find_model
from keydistill.encoders.runtime import WantedRuntime
from keydistill.errors import TrainingError
from tests.support.student_data import little_data, recipe_of

TEXTS = ["red running shoes", "usb c cable 6 ft"]
# Of all-MiniLM-L6-v2, arctic-embed-xs, bge-small and e5-small; vocabulary and tokenizer are the first one's.
SMALL: dict[str, Any] = {"hidden_size": 384, "num_attention_heads": 12, "num_hidden_layers": 2}
FEED_FORWARD: dict[str, Any] = {"intermediate_size": 1_536}
VOCABULARY: dict[str, Any] = {"vocab_size": 30_522}
OFFSET_POSITIONS: dict[str, Any] = {"max_position_embeddings": 514}


@dataclass(frozen=True)
class Base:
    """The configuration of a base: what makes its transformer, its pooling, its prompts, whether it normalises."""

    transformer: Callable[[], Any]
    pooling: str = "mean"
    prompts: dict[str, str] = field(default_factory=dict)
    normalises: bool = True


# bge-small has the configuration of arctic-embed-xs, with twice as many layers.
BASES = {
    "arctic-embed-xs": Base(
        lambda: BertModel(BertConfig(**SMALL, **FEED_FORWARD)),
        "cls",
        {"query": "Represent this sentence for searching relevant passages: "},
    ),
    "e5-small": Base(
        lambda: BertModel(BertConfig(**SMALL, **FEED_FORWARD)), prompts={"query": "query: ", "document": "passage: "}
    ),
    "roberta": Base(lambda: RobertaModel(RobertaConfig(**SMALL, **FEED_FORWARD, **VOCABULARY, **OFFSET_POSITIONS))),
    "mpnet": Base(
        lambda: MPNetModel(MPNetConfig(**SMALL, **FEED_FORWARD, **VOCABULARY, **OFFSET_POSITIONS)), normalises=False
    ),
    "modernbert": Base(
        lambda: ModernBertModel(ModernBertConfig(**SMALL, **VOCABULARY, intermediate_size=576, pad_token_id=0)), "cls"
    ),
}


def make_base(base: Base, folder: Path) -> Path:
    """A folder as sentence-transformers keeps one, with random weights."""
    torch.manual_seed(0)
    shutil.copytree(find_model("sentence-transformers/all-MiniLM-L6-v2"), folder)
    base.transformer().save_pretrained(folder)
    pooling = folder / "1_Pooling" / "config.json"
    modes = json.loads(pooling.read_text())
    name = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}[base.pooling]
    pooling.write_text(json.dumps({key: key == name if key.startswith("pooling_") else modes[key] for key in modes}))
    if not base.normalises:
        modules = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(json.dumps(modules[:2]))
    prompts = {"prompts": base.prompts, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


@pytest.mark.parametrize("name", [*BASES])
def test_a_base_is_trained_and_its_student_embeds_as_sentence_transformers_does(name: str, tmp_path: Path) -> None:
    base = BASES[name]
    folder = make_base(base, tmp_path / "base")
    recipe = replace(recipe_of(folder), dimensions=(384, 64), epochs=0.1, int8=True)
    trained = train_student(little_data(), tmp_path / "student", recipe)
    # Each prompt is kept, and stands before a text once.
    expected_prompts = Prompts(base.prompts.get("query", ""), base.prompts.get("document", ""))
    reference = SentenceTransformer(str(trained.folder), device="cpu")
    runtimes: list[WantedRuntime] = ["torch", "numpy"]
    for runtime in runtimes:
        # Where numpy does not know the architecture, torch takes its place.
        student = Student.load(str(trained.folder), runtime=runtime, device="cpu")
        assert student.prompts == expected_prompts
        for vectors, expected in (
            (student.embed_keyphrases(TEXTS), reference.encode_query(TEXTS, normalize_embeddings=True)),
            (student.embed_items(TEXTS), reference.encode_document(TEXTS, normalize_embeddings=True)),
        ):
            np.testing.assert_allclose(vectors, expected, atol=2e-6)
    assert (student.runtime == "numpy") == (name == "e5-small")


def test_layers_of_another_architecture_are_not_cut(tmp_path: Path) -> None:
    folder = make_base(BASES["modernbert"], tmp_path / "base")
    with pytest.raises(
        TrainingError, match="cannot keep 1 layers of a ModernBertModel; expected BERT, RoBERTa or MPNet"
    ):
        train_student(little_data(), tmp_path / "student", replace(recipe_of(folder), layers=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arctic-embed-xs", "e5-small", "roberta", "modernbert"])
def test_the_runtime_that_is_chosen_keeps_the_answers(name: str, tmp_path: Path) -> None:
    folder = make_base(BASES[name], tmp_path / "base")
    recipe = replace(recipe_of(folder), dimensions=(384, 64), epochs=0.1, int8=True)
    trained = train_student(little_data(), tmp_path / "student", recipe)
    student = Student.load(str(trained.folder), runtime="auto", cache=tmp_path / "cache", device="cpu")
    expected = Student.load(str(trained.folder), runtime="torch", device="cpu").embed_keyphrases(TEXTS)
    assert 1 - (student.embed_keyphrases(TEXTS) * expected).sum(axis=1).min() < 5e-3
