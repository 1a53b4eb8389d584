"""Students with a transformer for items and a table for keyphrases."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from keydistill.encoders import ITEM_ROUTE, KEYPHRASE_ROUTE, Student, StudentFiles, student_version
from keydistill.encoders.runtime import TOLERANCE
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.errors import StudentError
from tests.support.heard_progress import HeardProgress

TEXTS = ["red running shoes", "ps5", "unaffable wühlmaus £5 [SEP] 🔥", "mens waterproof hiking boots size 10", "ps5"]
TABLE = "query_0_StaticEmbedding/model.safetensors"


@pytest.fixture(scope="module")
def static_student(static_folder: Path) -> Student:
    return Student.load(str(static_folder), device="cpu")


@pytest.fixture
def copied(static_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(static_folder, tmp_path / "student"))


def test_vectors_are_those_of_sentence_transformers(static_student: Student, static_folder: Path) -> None:
    reference = SentenceTransformer(str(static_folder), device="cpu")
    for embed, route in (
        (static_student.embed_keyphrases, KEYPHRASE_ROUTE),
        (static_student.embed_items, ITEM_ROUTE),
    ):
        vectors = embed(TEXTS)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, reference.encode(TEXTS, task=route), atol=1e-5)
    np.testing.assert_allclose(static_student.embed_keyphrases(TEXTS), reference.encode_query(TEXTS), atol=1e-5)
    assert static_student.is_asymmetric


def test_items_are_read_as_the_transformer_alone_reads_them(static_student: Student, tiny_student: Student) -> None:
    np.testing.assert_allclose(static_student.embed_items(TEXTS), tiny_student.embed_items(TEXTS), atol=1e-6)
    assert static_student.count_tokens(TEXTS).tolist() == tiny_student.count_tokens(TEXTS).tolist()
    assert not tiny_student.is_asymmetric


def test_a_keyphrase_has_one_vector_whatever_stands_beside_it(static_student: Student) -> None:
    texts = [f"shoe {number % 2_500} of size {number}" for number in range(5_000)] + ["ps5"] * 3
    progress = HeardProgress()
    together = static_student.embed_keyphrases(texts, progress)
    assert sum(progress.counts) == len(texts)
    for places in ([0], [4_999, 5_000], [5_002, 17, 2_048], range(2_000, 2_100)):
        np.testing.assert_array_equal(
            static_student.embed_keyphrases([texts[place] for place in places]), together[places]
        )
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert static_student.embed_keyphrases([]).shape == (0, 32)


def test_a_text_without_tokens_has_a_vector_of_its_own(static_student: Student) -> None:
    accents = static_student.embed_keyphrases(["́"])
    assert np.linalg.norm(accents) == pytest.approx(1)
    np.testing.assert_array_equal(accents, static_student.embed_keyphrases(["🔥"]))


def test_a_matryoshka_dimension_is_a_normalised_prefix_on_both_sides(
    static_student: Student, static_folder: Path
) -> None:
    small = Student.load(str(static_folder), dimension=8, device="cpu")
    assert (small.dimension, small.version != static_student.version) == (8, True)
    for full, cut in (
        (static_student.embed_keyphrases(TEXTS), small.embed_keyphrases(TEXTS)),
        (static_student.embed_items(TEXTS), small.embed_items(TEXTS)),
    ):
        prefix = full[:, :8] / np.linalg.norm(full[:, :8], axis=1, keepdims=True)
        np.testing.assert_allclose(cut, prefix, atol=1e-6)
    with pytest.raises(StudentError, match="has 32 dimensions, asked for 64"):
        StudentFiles.find(str(static_folder), dimension=64)


@pytest.mark.parametrize("file", [TABLE, "document_0_Transformer/model.safetensors", "router_config.json"])
def test_the_version_covers_both_sides(copied: Path, file: str) -> None:
    before = student_version("student", copied, 32)
    with (copied / file).open("ab") as changed:
        changed.write(b" ")
    assert student_version("student", copied, 32) != before


def test_the_runtime_gets_the_side_of_the_items_alone(static_folder: Path, tiny_folder: Path) -> None:
    # What is exported for OpenVINO, too.
    items_side, symmetric = (TorchRuntime.load(folder, device="cpu").model for folder in (static_folder, tiny_folder))
    assert [name for name, _ in items_side.named_modules()] == [name for name, _ in symmetric.named_modules()]
    for (name, weights), (_, expected) in zip(
        items_side.state_dict().items(), symmetric.state_dict().items(), strict=True
    ):
        assert weights.equal(expected), name


@pytest.mark.slow
def test_another_runtime_computes_the_items(static_student: Student, static_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    again = Student.load(str(static_folder), device="cpu", runtime="openvino-fp32", cache=tmp_path)
    assert (again.runtime, again.version) == ("openvino-fp32", static_student.version)
    distances = 1 - (again.embed_items(TEXTS) * static_student.embed_items(TEXTS)).sum(axis=1)
    assert distances.max() < TOLERANCE
    np.testing.assert_array_equal(again.embed_keyphrases(TEXTS), static_student.embed_keyphrases(TEXTS))


def test_a_damaged_table_is_one_line(copied: Path) -> None:
    table = copied / TABLE
    table.write_bytes(table.read_bytes()[:1_000])
    with pytest.raises(StudentError, match=r"cannot be loaded as a .*; retrain or copy it again") as caught:
        Student.load(str(copied), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_router_of_another_kind_is_refused(copied: Path) -> None:
    config = copied / "router_config.json"
    router = json.loads(config.read_text())
    router["structure"]["query"] = router["structure"]["document"]
    config.write_text(json.dumps(router))
    with pytest.raises(StudentError, match="expected a transformer on the route 'document' and one StaticEmbedding on"):
        StudentFiles.find(str(copied))
