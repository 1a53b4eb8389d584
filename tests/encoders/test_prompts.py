"""Students that were trained with a text before queries and documents."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.encoders import Prompts, Student, StudentFiles
from keydistill.errors import StudentError
from tests.support.tiny_models import make_tiny_static_student

FILE = "config_sentence_transformers.json"
E5 = {"query": "query: ", "passage": "passage: "}
TEXTS = ["red running shoes", "usb c cable 6 ft"]


@pytest.fixture
def with_prompts(tiny_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(prompts: object, default: str | None = None, base: Path = tiny_folder) -> Path:
        folder = shutil.copytree(base, tmp_path / "student", dirs_exist_ok=True)
        (folder / FILE).write_text(json.dumps({"prompts": prompts, "default_prompt_name": default}))
        return folder

    return make


@pytest.mark.parametrize("runtime", ["torch", "numpy"])
def test_vectors_are_those_of_queries_and_documents(with_prompts: Callable[..., Path], runtime: Any) -> None:
    from sentence_transformers import SentenceTransformer

    folder = with_prompts({"query": "query: ", "document": "passage: "})
    student, reference = Student.load(str(folder), runtime=runtime), SentenceTransformer(str(folder), device="cpu")
    for vectors, expected in (
        (student.embed_keyphrases(TEXTS), reference.encode_query(TEXTS, normalize_embeddings=True)),
        (student.embed_items(TEXTS), reference.encode_document(TEXTS, normalize_embeddings=True)),
    ):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert student.count_tokens(TEXTS).tolist() == StudentFiles.find(str(folder)).count_tokens(TEXTS).tolist() == [7, 9]


def test_a_table_reads_keyphrases_with_their_prompt(
    with_prompts: Callable[..., Path], tiny_folder: Path, tmp_path: Path
) -> None:
    base = make_tiny_static_student(tmp_path / "static", tiny_folder)
    plain = Student.load(str(base), device="cpu")
    prompted = Student.load(str(with_prompts(E5, base=base)), device="cpu")
    np.testing.assert_allclose(
        prompted.embed_keyphrases(TEXTS), plain.embed_keyphrases([f"query: {text}" for text in TEXTS]), atol=1e-6
    )


def test_prompts_are_a_part_of_the_version(with_prompts: Callable[..., Path]) -> None:
    versions = {
        StudentFiles.find(str(with_prompts(prompts))).version for prompts in ({}, E5, {"query": "q: "}, {"query": ""})
    }
    assert len(versions) == 4


@pytest.mark.parametrize(
    ("prompts", "default", "expected"),
    [
        (None, None, Prompts()),
        ({"query": None, "document": None}, None, Prompts()),
        (E5, None, Prompts("query: ", "passage: ")),
        ({"query": "q: ", "document": "", "corpus": "c: "}, None, Prompts("q: ", "c: ")),
        ({"query": "q: "}, None, Prompts("q: ", "")),
        ({"any": "a: "}, "any", Prompts("a: ", "a: ")),
        ({"any": "a: ", "query": "q: "}, "any", Prompts("q: ", "a: ")),
    ],
)
def test_prompts_by_their_names(
    with_prompts: Callable[..., Path], prompts: object, default: str | None, expected: Prompts
) -> None:
    assert Prompts.of(with_prompts(prompts, default)) == expected


@pytest.mark.parametrize(
    ("prompts", "default", "message"),
    [
        ({"clustering": "cluster: "}, None, "'clustering', but none for keyphrases or items"),
        (E5, "gone", "names the default prompt 'gone'"),
        (["query: "], None, "no texts by name"),
        ({"query": 1}, None, "no texts by name"),
    ],
)
def test_what_is_not_supported_is_refused(
    with_prompts: Callable[..., Path], prompts: object, default: str | None, message: str
) -> None:
    with pytest.raises(StudentError, match=message) as error:
        Student.load(str(with_prompts(prompts, default)), device="cpu")
    assert "\n" not in str(error.value)


def test_prompts_outside_the_pooling_are_refused(with_prompts: Callable[..., Path]) -> None:
    folder = with_prompts(E5)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "include_prompt": False}))
    with pytest.raises(StudentError, match="include_prompt"):
        Prompts.of(folder)
    assert not Prompts.of(with_prompts({}))
