"""Students that are loaded from their files give what sentence-transformers gives, and others are left to it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import ElectraConfig, ElectraModel

from keydistill.distillation.student.rotation import rotate
from keydistill.encoders import Student, find_model
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.encoders.runtime.torch.saved_bert import SavedBert
from keydistill.errors import StudentError

TEXTS = ["ps5", "dark-green wool coat with hood", "a", "usb c charger for laptop 65 w"]


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "student")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Sums are taken in another order where threads share them.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def vectors(folder: Path, kind: type) -> np.ndarray:
    student = Student.load(str(folder), device="cpu")
    runtime = student._runtime
    assert isinstance(runtime, TorchRuntime)
    assert isinstance(runtime.model, kind)
    return student.embed_items(TEXTS)


def by_the_library(folder: Path) -> np.ndarray:
    model = SentenceTransformer(str(folder), device="cpu")
    # One at a time: nothing is padded.
    return np.concatenate([model.encode([text], normalize_embeddings=True) for text in TEXTS])


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_base_student() -> None:
    folder = find_model("sentence-transformers/all-MiniLM-L6-v2")
    np.testing.assert_allclose(vectors(folder, SavedBert), by_the_library(folder), atol=2e-6)


def test_as_the_library_saves_it_today(copied: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(copied), device="cpu")
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    np.testing.assert_array_equal(vectors(tmp_path / "saved", SavedBert), vectors(copied, SavedBert))
    np.testing.assert_allclose(vectors(tmp_path / "saved", SavedBert), by_the_library(copied), atol=2e-6)


def test_one_that_was_rotated(copied: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(copied), device="cpu")
    rotate(model, TEXTS * 20)
    model.save_pretrained(str(tmp_path / "rotated"), create_model_card=False)
    rotated = vectors(tmp_path / "rotated", SavedBert)
    np.testing.assert_allclose(rotated, by_the_library(tmp_path / "rotated"), atol=2e-6)
    assert not np.allclose(rotated, vectors(copied, SavedBert), atol=1e-2)


def test_counts_among_the_weights_are_none(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    save_file({**weights, "embeddings.position_ids": torch.arange(512)[None]}, copied / "model.safetensors")
    np.testing.assert_allclose(vectors(copied, SavedBert), by_the_library(copied), atol=2e-6)


def test_a_transformer_of_another_kind_is_the_librarys(copied: Path) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    ElectraModel(ElectraConfig(**sizes, embedding_size=32)).save_pretrained(copied)
    np.testing.assert_allclose(vectors(copied, SentenceTransformer), by_the_library(copied), atol=2e-6)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"dtype": "bfloat16"}),
        ("sentence_bert_config.json", {"module_output_name": "token_embeddings", "unpad_inputs": False}),
    ],
)
def test_what_may_mean_more_is_the_librarys(copied: Path, file: str, values: dict[str, object]) -> None:
    change(copied / file, **values)
    assert isinstance(TorchRuntime.load(copied, device="cpu").model, SentenceTransformer)


def test_weights_of_a_model_around_it_are_the_librarys(copied: Path) -> None:
    weights = {f"bert.{name}": value for name, value in load_file(copied / "model.safetensors").items()}
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_allclose(vectors(copied, SentenceTransformer), by_the_library(copied), atol=2e-6)


def test_weights_of_another_size_are_one_line(copied: Path) -> None:
    change(copied / "config.json", hidden_size=48)
    with pytest.raises(
        StudentError, match=r"cannot be loaded as a student: .* size mismatch .*; retrain or copy"
    ) as caught:
        Student.load(str(copied), device="cpu")
    assert "\n" not in str(caught.value)
