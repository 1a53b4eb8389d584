"""Numpy computes what torch does, and stands in for it where it is not installed."""

import json
import logging
import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keydistill.distillation.student.rounding import round_student
from keydistill.encoders import Student, StudentFiles
from keydistill.encoders.runtime import export_folder
from keydistill.encoders.runtime.numpy import NumpyRuntime
from keydistill.encoders.runtime.numpy.bert import gelu
from keydistill.encoders.runtime.torch import runtime as torch_runtime
from keydistill.errors import RuntimeUnavailableError, StudentError
from tests.support.embeddings import assert_receivers_may_stop, distances, many_texts
from tests.support.tiny_models import make_tiny_student


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a base install."""
    monkeypatch.setattr(torch_runtime, "find_spec", lambda name: None)


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "student")


def test_vectors_are_those_of_torch(tiny_student: Student, tiny_folder: Path) -> None:
    texts = [*many_texts(300), "", "a", "wool " * 300]
    vectors = Student.load(str(tiny_folder), runtime="numpy").embed_keyphrases(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, tiny_student.embed_keyphrases(texts), atol=1e-6)


def test_vectors_of_the_base_student_are_those_of_torch(student: Student) -> None:
    texts = many_texts(40)
    own = Student.load(student.source, runtime="numpy")
    assert (own.runtime, own.version) == ("numpy", student.version)
    vectors, expected = own.embed_keyphrases(texts), student.embed_keyphrases(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert distances(vectors, expected).max() < 1e-6


def test_vectors_of_several_layers_and_a_dense_layer_behind_them(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    plain = make_tiny_student(tmp_path / "plain", width=48, heads=4, layers=3)
    model = SentenceTransformer(str(plain), device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        # None of them at its usual beginning of zeros and ones.
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    dense = Dense(48, 16, activation_function=torch.nn.Identity())
    SentenceTransformer(modules=[*model, dense], device="cpu").save_pretrained(
        str(tmp_path / "student"), create_model_card=False
    )
    texts = many_texts(200)
    vectors, expected = (
        Student.load(str(tmp_path / "student"), device="cpu", runtime=runtime).embed_items(texts)
        for runtime in ("numpy", "torch")
    )
    assert vectors.shape == (200, 16)
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_gelu_is_exact_to_a_millionth() -> None:
    inputs = np.linspace(-12, 12, 20_001).astype(np.float32)
    expected = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in inputs.tolist()]
    outputs = gelu(inputs.reshape(-1, 3).copy()).ravel()
    np.testing.assert_allclose(outputs, expected, atol=5e-7)


def test_threads_share_a_student(tiny_folder: Path) -> None:
    student, texts = Student.load(str(tiny_folder), runtime="numpy"), many_texts(200)
    expected = student.embed_keyphrases(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(student.embed_keyphrases, [texts] * 8):
            np.testing.assert_array_equal(vectors, expected)


def test_a_text_has_one_vector_to_rounding_whatever_stands_beside_it(tiny_folder: Path) -> None:
    student, texts = Student.load(str(tiny_folder), runtime="numpy"), many_texts(100)
    together = student.embed_keyphrases(texts)
    for size in (1, 7, 64):
        parts = [student.embed_keyphrases(texts[at : at + size]) for at in range(0, len(texts), size)]
        np.testing.assert_allclose(np.concatenate(parts), together, atol=2e-6)


def test_what_a_receiver_left_is_not_mixed_into_what_the_next_one_gets(tiny_folder: Path) -> None:
    files = StudentFiles.find(str(tiny_folder))
    assert_receivers_may_stop(NumpyRuntime.load(files), files)


@pytest.mark.usefixtures("no_torch")
def test_without_torch_the_default_computes_in_numpy_and_says_so(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="keydistill.encoders"):
        assert Student.load(str(tiny_folder)).runtime == "numpy"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "runtime numpy in place of torch: torch is not installed; pip install 'keydistill[train]'")
    ]


@pytest.mark.usefixtures("no_torch")
def test_without_torch_an_unusual_student_is_one_line(copied: Path, tmp_path: Path) -> None:
    config = copied / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_act": "relu"}))
    with pytest.raises(
        StudentError, match=r"nothing that is installed computes it: torch is not installed; .*; student .* is not of"
    ):
        Student.load(str(copied), cache=tmp_path / "runtimes")


def test_an_unusual_student_goes_to_torch(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = copied / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_act": "relu"}))
    with pytest.raises(RuntimeUnavailableError, match="is not of the usual kind, a BERT with mean pooling"):
        NumpyRuntime.load(StudentFiles.find(str(copied)))
    with caplog.at_level(logging.WARNING):
        assert Student.load(str(copied), device="cpu", runtime="numpy").runtime == "torch"
    assert "runtime torch in place of numpy" in caplog.text


@pytest.mark.parametrize(
    "damage", ["weights that are cut", "another width", "fewer words", "heads that share a number"]
)
def test_a_damaged_student_is_one_line(copied: Path, damage: str) -> None:
    file, config = copied / "model.safetensors", copied / "config.json"
    settings = json.loads(config.read_text())
    if damage == "weights that are cut":
        file.write_bytes(file.read_bytes()[:1_000_000])
    elif damage == "another width":
        config.write_text(json.dumps({**settings, "hidden_size": 48}))
    elif damage == "heads that share a number":
        config.write_text(json.dumps({**settings, "num_attention_heads": 5}))
    else:
        weights = load_file(file)
        words = "embeddings.word_embeddings.weight"
        save_file({**weights, words: weights[words][:100].copy()}, file, metadata={"format": "pt"})
    with pytest.raises(StudentError, match=r"cannot be loaded as a student: .*; retrain or copy it again") as caught:
        Student.load(str(copied), runtime="numpy")
    assert "\n" not in str(caught.value)


def test_a_student_is_exported_without_torch(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    assert round_student(copied, many_texts(20))
    code = (
        "import sys; from pathlib import Path; from keydistill.encoders import Student;"
        f"s = Student.load({str(copied)!r}, runtime='openvino-fp32', cache=Path({str(tmp_path / 'runtimes')!r}));"
        "assert s.embed_keyphrases(['ps5']).shape == (1, 32) and s.runtime == 'openvino-fp32';"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    (report,) = (tmp_path / "runtimes").glob("*/report.json")
    assert set(json.loads(report.read_text(encoding="utf-8"))["versions"]) == {"openvino", "numpy"}


def test_the_reference_of_an_unusual_student_is_torch(copied: Path, tiny_folder: Path) -> None:
    config = copied / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_act": "relu"}))
    assert export_folder.reference_runtime(StudentFiles.find(str(copied))).name == "torch"
    assert export_folder.reference_runtime(StudentFiles.find(str(tiny_folder))).name == "numpy"
