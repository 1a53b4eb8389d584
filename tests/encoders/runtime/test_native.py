"""Our own int8 kernels: the arithmetic of a BERT of any size and text, and what happens where they cannot run."""

import ctypes
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense

from keydistill.distillation.student.rounding import round_student
from keydistill.encoders import Student, StudentFiles
from keydistill.encoders.runtime import INT8_TOLERANCE, WantedRuntime
from keydistill.encoders.runtime.native import kernels as int8_kernels
from keydistill.encoders.runtime.native import load_int8
from keydistill.encoders.runtime.native.runtime import Int8Runtime
from keydistill.encoders.tokens import TokenBatch, token_batches
from keydistill.errors import StudentError
from tests.support.embeddings import (
    assert_one_vector_per_text,
    assert_receivers_may_stop,
    assert_threads_share,
    distances,
    many_texts,
)
from tests.support.int8 import USABLE, why_no_kernels
from tests.support.tiny_models import make_tiny_student

# Most cosine distance between vectors of one student that different instructions compute.
INSTRUCTIONS_TOLERANCE = 1e-4

needs_kernels = pytest.mark.skipif(bool(why_no_kernels()), reason=why_no_kernels() or "-")


def make_student(folder: Path, *, width: int, heads: int, layers: int, behind: str) -> Path:
    """A student of random weights on the grid of int8, none of them at its usual beginning of zeros and ones."""
    torch.manual_seed(0)
    plain = make_tiny_student(folder.with_name(f"{folder.name}-plain"), width=width, heads=heads, layers=layers)
    model = SentenceTransformer(str(plain), device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    transformer, pooling, normalize = cast(Any, model)
    modules: list[Any] = {
        "normalize": [normalize],
        "nothing": [],
        "dense": [Dense(width, 64, activation_function=torch.nn.Identity()), normalize],
        "two dense": [
            Dense(width, 128, bias=False, activation_function=torch.nn.Identity()),
            Dense(128, 64, activation_function=torch.nn.Identity()),
        ],
    }[behind]
    SentenceTransformer(modules=[transformer, pooling, *modules], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    assert round_student(folder, many_texts(300))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_student(tmp_path_factory.mktemp("students") / "wide", width=128, heads=4, layers=2, behind="dense")


@pytest.fixture(scope="module")
def files(folder: Path) -> StudentFiles:
    return StudentFiles.find(str(folder))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


def long_texts() -> list[str]:
    """Texts of one to 256 tokens, where blocks, panels and vectors of attention begin and end."""
    words = many_texts(1)[0].split()[:-1] * 300
    return [" ".join(words[:count]) for count in (0, 1, 2, 13, 14, 15, 29, 30, 31, 62, 63, 94, 100, 189, 191, 250, 254)]


@needs_kernels
@pytest.mark.parametrize(
    ("width", "heads", "layers", "behind"),
    [(128, 4, 2, "normalize"), (128, 2, 1, "nothing"), (256, 4, 1, "dense"), (384, 12, 1, "two dense")],
)
def test_vectors_are_those_of_torch_whatever_the_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, heads: int, layers: int, behind: str
) -> None:
    folder = make_student(tmp_path / "student", width=width, heads=heads, layers=layers, behind=behind)
    files = StudentFiles.find(str(folder))
    texts = [*long_texts(), *many_texts(400)]
    batches = list(token_batches(texts, files.tokens(), Int8Runtime.batch_tokens))

    def vectors_of(computed: Iterable[tuple[Any, Any]]) -> Any:
        vector_at = dict(zip(*_by_place(computed), strict=True))
        assert sorted(vector_at) == list(range(len(texts)))
        return np.stack([vector_at[place] for place in range(len(texts))])

    expected = vectors_of(Student.load(str(folder), device="cpu")._read(texts))
    load_int8(files, cache=tmp_path / "runtimes")
    (weights,) = (tmp_path / "runtimes").glob("*/weights.npy")
    # As they come, not normalised: lengths agree, too.
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    first = None
    for instructions in USABLE:
        monkeypatch.setenv("KEYDISTILL_INT8_INSTRUCTIONS", instructions)
        vectors = vectors_of(Int8Runtime(weights, threads=2).run(batches))
        assert vectors.dtype == np.float32
        assert vectors.shape == expected.shape
        own_lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(own_lengths, lengths, rtol=0.02)
        found_distances = distances(expected / lengths, vectors / own_lengths)
        assert 1e-7 < found_distances.mean() < 2e-4
        assert found_distances.max() < INT8_TOLERANCE
        first = vectors / own_lengths if first is None else first
        # Sums of products are the same; what is fp32 is summed up in another order, and a few levels round otherwise.
        assert distances(first, vectors / own_lengths).max() < INSTRUCTIONS_TOLERANCE


@needs_kernels
@pytest.mark.parametrize("instructions", USABLE)
def test_a_text_has_one_vector_whatever_stands_beside_it(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, instructions: str
) -> None:
    monkeypatch.setenv("KEYDISTILL_INT8_INSTRUCTIONS", instructions)
    student = Student.load(str(folder), device="cpu", runtime="native-int8", cache=cache)
    assert student.runtime == "native-int8"
    assert_one_vector_per_text(student)


@needs_kernels
def test_threads_share_a_student(folder: Path, cache: Path) -> None:
    assert_threads_share(Student.load(str(folder), device="cpu", runtime="native-int8", cache=cache, threads=2))


@needs_kernels
def test_few_texts_of_many_lengths_start_no_threads(
    files: StudentFiles, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of requests that came together: threads would take longer to start than the texts to compute."""
    runtime = load_int8(files, cache=cache, threads=2)
    few = list(token_batches([text[: 10 + place] for place, text in enumerate(many_texts(8))], files.tokens(), 64))
    assert len(few) > 1
    expected = dict(zip(*_by_place(runtime.run(few)), strict=True))
    started: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads: int, **named: Any) -> None:
            started.append(threads)
            super().__init__(threads, **named)

    monkeypatch.setattr("keydistill.encoders.runtime.native.runtime.ThreadPoolExecutor", Pool)
    places, vectors = _by_place(runtime.run(few))
    assert started == []
    assert sorted(places) == list(range(8))
    assert all((expected[place] == vector).all() for place, vector in zip(places, vectors, strict=True))
    many = list(token_batches(many_texts(400), files.tokens(), runtime.batch_tokens))
    assert sum(batch.ids.size for batch in many) > runtime.batch_tokens
    assert len(_by_place(runtime.run(many))[0]) == 400
    assert started == [2]


def _by_place(batches: Iterable[tuple[Any, Any]]) -> tuple[list[int], list[Any]]:
    pairs = [pair for places, rows in batches for pair in zip(places.tolist(), rows, strict=True)]
    return [place for place, _ in pairs], [row for _, row in pairs]


@needs_kernels
def test_a_receiver_may_stop_early_and_batches_may_fail(files: StudentFiles, cache: Path) -> None:
    runtime = load_int8(files, cache=cache, threads=1)
    assert_receivers_may_stop(runtime, files)
    batches = list(token_batches(many_texts(50), files.tokens(), 32))

    def failing() -> Iterator[TokenBatch]:
        yield batches[0]
        raise ValueError("no more texts")

    with pytest.raises(ValueError, match="no more texts"):
        list(runtime.run(failing()))


@needs_kernels
@pytest.mark.parametrize("ids", [[[101, 30_522]], [[-1, 102]], [[101] * 600], [[]]])
def test_tokens_that_the_student_does_not_know_are_refused(
    files: StudentFiles, cache: Path, ids: list[list[int]]
) -> None:
    runtime = load_int8(files, cache=cache, threads=1)
    with pytest.raises(StudentError, match="512 places and 30522 words; its tokenizer and its weights do not belong"):
        list(runtime.run([TokenBatch(np.array([0]), np.array(ids, dtype=np.int64))]))


@needs_kernels
def test_weights_are_written_once_and_made_again_if_damaged(
    files: StudentFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = TokenBatch(np.array([0]), np.array([[101, 2417, 6007, 102]]))
    ((_, first),) = load_int8(files, cache=tmp_path).run([texts])
    (export,) = (path for path in tmp_path.iterdir() if path.is_dir())
    report = json.loads((export / "report.json").read_text(encoding="utf-8"))
    assert report["max_cosine_distance"]["int8"] < INT8_TOLERANCE
    assert report["texts_per_second"]["int8"] > 0
    weights = export / "weights.npy"
    before = weights.stat().st_mtime_ns
    load_int8(files, cache=tmp_path)
    assert weights.stat().st_mtime_ns == before
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 255
    weights.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        ((_, again),) = load_int8(files, cache=tmp_path).run([texts])
    assert "is damaged" in caplog.text
    np.testing.assert_array_equal(again, first)
    weights.write_bytes(b"no weights")
    with pytest.raises(StudentError, match=r"weights\.npy cannot be loaded: .*; remove its folder"):
        Int8Runtime(weights)


@needs_kernels
def test_a_student_that_is_exported_already_is_loaded_without_torch(
    folder: Path, files: StudentFiles, cache: Path
) -> None:
    load_int8(files, cache=cache)
    code = (
        "import sys; from pathlib import Path; from keydistill.encoders import Student;"
        f"s = Student.load({str(folder)!r}, runtime='native-int8', cache=Path({str(cache)!r}));"
        "assert s.embed_keyphrases(['ps5']).shape == (1, 64) and s.runtime == 'native-int8';"
        "sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_kernels
def test_sizes_that_the_kernels_do_not_compute_go_to_another_runtime(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    assert round_student(folder, many_texts(20))
    with caplog.at_level(logging.WARNING):
        student = Student.load(str(folder), device="cpu", runtime="native-int8", cache=tmp_path / "runtimes")
    assert student.runtime != "native-int8"
    assert "is of sizes that the int8 kernels do not compute" in caplog.text


@needs_kernels
@pytest.mark.parametrize("damage", ["a weight that is not a number", "weights that are cut", "an unusual layer behind"])
@pytest.mark.parametrize("wanted", ["native-int8", "auto"])
def test_a_damaged_or_unusual_student_is_told_or_left_to_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, wanted: WantedRuntime
) -> None:
    student = shutil.copytree(folder, tmp_path / "student")
    file = student / "model.safetensors"
    if damage == "weights that are cut":
        file.write_bytes(file.read_bytes()[:1_000_000])
        with pytest.raises(StudentError, match="cannot be loaded as a student"):
            Student.load(str(student), device="cpu", runtime=wanted, cache=tmp_path / "runtimes")
        return
    if damage == "an unusual layer behind":
        dense = load_file(student / "2_Dense" / "model.safetensors")
        dense = {name: values[:48].copy() for name, values in dense.items()}
        save_file(dense, student / "2_Dense" / "model.safetensors")
        config = student / "2_Dense" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "out_features": 48}))
    else:
        weights = load_file(file)
        weights["encoder.layer.0.attention.self.key.bias"][3] = np.nan
        save_file(weights, file, metadata={"format": "pt"})
    for _ in range(2):
        with caplog.at_level(logging.INFO, logger="keydistill.encoders"):
            loaded = Student.load(str(student), device="cpu", runtime=wanted, cache=tmp_path / "runtimes")
        assert loaded.runtime != "native-int8"
        assert "is not what the int8 kernels compute" in caplog.text
    if damage == "a weight that is not a number":
        # No runtime computes it to the tolerance but the one that all are compared with.
        assert loaded.runtime == "torch"


def forget_the_kernels() -> None:
    int8_kernels._library.cache_clear()
    int8_kernels._kernels.cache_clear()


@pytest.mark.parametrize(
    ("lacks", "expected"),
    [
        ("a compiler", "install gcc and then keydistill again"),
        ("a whole library", "the int8 kernels cannot be loaded ("),
        ("the library of this version", "were compiled for another version of keydistill; install it again"),
        ("instructions", "has none of the instructions that the int8 kernels are written for (best, good)"),
    ],
)
def test_where_the_kernels_cannot_run_another_runtime_computes(
    folder: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lacks: str,
    expected: str,
) -> None:
    if lacks in ("the library of this version", "instructions") and why_no_kernels():
        pytest.skip(why_no_kernels())
    library = tmp_path / "library.so"
    library.write_bytes(b"no library")
    missing = {"a compiler": None, "a whole library": SimpleNamespace(origin=str(library))}
    if lacks in missing:
        monkeypatch.setattr(int8_kernels, "find_spec", lambda name: missing[lacks])
    elif lacks == "instructions":
        monkeypatch.setattr(
            ctypes,
            "CDLL",
            lambda path: SimpleNamespace(
                int8_bert_interface=lambda: int8_kernels._INTERFACE,
                int8_bert_instructions=lambda number: [b"best", b"good", None][number],
                int8_bert_supported=lambda number: 0,
                int8_bert_pooled=lambda: None,
                int8_bert_dense=lambda: None,
            ),
        )
    else:
        monkeypatch.setattr(int8_kernels, "_INTERFACE", 0)
    forget_the_kernels()
    try:
        with caplog.at_level(logging.INFO, logger="keydistill.encoders"):
            student = Student.load(str(folder), device="cpu", runtime="native-int8", cache=cache)
            automatic = Student.load(str(folder), device="cpu", runtime="auto", cache=cache)
    finally:
        monkeypatch.undo()
        forget_the_kernels()
    assert "native-int8" not in (student.runtime, automatic.runtime)
    assert [record.levelname for record in caplog.records if expected in record.message] == ["WARNING", "INFO"]
