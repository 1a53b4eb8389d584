"""Runtimes: every one gives the same vectors, and one that cannot be used here gives way to another."""

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from keydistill.distillation.student.rounding import round_student
from keydistill.encoders import Student, StudentFiles, content_digest
from keydistill.encoders.runtime import TOLERANCE, ExportReport, WantedRuntime, export_folder
from keydistill.encoders.runtime.cpu import capable_precisions
from keydistill.encoders.runtime.openvino import export as openvino_export
from keydistill.encoders.runtime.openvino import exported, load_exported
from keydistill.encoders.runtime.openvino import runtime as openvino_runtime
from keydistill.encoders.runtime.openvino.runtime import NAMES
from keydistill.encoders.runtime.sample import largest_distance
from keydistill.encoders.tokens import TokenBatch
from keydistill.errors import StudentError
from tests.support.embeddings import (
    assert_one_vector_per_text,
    assert_receivers_may_stop,
    assert_threads_share,
    distances,
    many_texts,
)

pytest.importorskip("openvino")

TEXTS = [
    "red running shoes",
    "iphone 13 case",
    "ps5",
    "usb c cable 6 ft",
    "mens waterproof hiking boots size 10",
    "ps5",
    "vintage levis 501 denim jeans made in usa 32x30 with button fly and red tab",
]
PRECISIONS = capable_precisions()


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """The tiny student with weights on the grid of int8, so that every precision computes it."""
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("students") / "tiny")
    assert round_student(folder, TEXTS)
    return folder


@pytest.fixture(scope="module")
def tiny_student(tiny_folder: Path) -> Student:
    return Student.load(str(tiny_folder), device="cpu")


@pytest.fixture(scope="module")
def files(tiny_folder: Path) -> StudentFiles:
    return StudentFiles.find(str(tiny_folder))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, files: StudentFiles) -> Path:
    """Where the tiny student is exported already."""
    folder = tmp_path_factory.mktemp("runtimes")
    exported(files, folder)
    return folder


@pytest.fixture(scope="module", params=PRECISIONS)
def openvino_student(request: pytest.FixtureRequest, tiny_folder: Path, cache: Path) -> Student:
    return Student.load(str(tiny_folder), runtime=NAMES[request.param], cache=cache, threads=2)


def unusual(*_: object, **__: object) -> None:
    """In place of `bert_graph`: a student that torch has to tell about."""


def test_vectors_agree_with_torch_to_the_tolerance(openvino_student: Student, tiny_student: Student) -> None:
    texts = many_texts(600)
    assert openvino_student.version == tiny_student.version
    assert openvino_student.count_tokens(texts).tolist() == tiny_student.count_tokens(texts).tolist()
    vectors, expected = openvino_student.embed_keyphrases(texts), tiny_student.embed_keyphrases(texts)
    assert vectors.dtype == np.float32
    assert distances(vectors, expected).max() < (1e-6 if openvino_student.runtime == "openvino-fp32" else TOLERANCE)


@pytest.mark.slow
def test_the_base_student_agrees_to_the_tolerance(student: Student, tmp_path: Path) -> None:
    texts = many_texts(600)
    expected = student.embed_keyphrases(texts)
    # Its weights are not on the grid of int8.
    for precision in sorted(set(PRECISIONS) - {"int8"}):
        again = Student.load(student.source, runtime=NAMES[precision], cache=tmp_path)
        assert again.runtime == f"openvino-{precision}"
        assert distances(again.embed_keyphrases(texts), expected).max() < TOLERANCE


def test_a_text_has_one_vector_whatever_stands_beside_it(openvino_student: Student) -> None:
    assert_one_vector_per_text(openvino_student)


def test_a_cut_vector_is_a_normalised_prefix(openvino_student: Student, tiny_folder: Path, cache: Path) -> None:
    small = Student.load(str(tiny_folder), dimension=8, runtime=openvino_student.runtime, cache=cache)
    prefix = openvino_student.embed_items(TEXTS)[:, :8]
    prefix = prefix / np.linalg.norm(prefix, axis=1, keepdims=True)
    np.testing.assert_allclose(small.embed_items(TEXTS), prefix, atol=1e-6)


def test_threads_share_a_student(openvino_student: Student) -> None:
    assert_threads_share(openvino_student)


def test_openvino_meets_few_shapes(files: StudentFiles, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps what it prepared for each shape, and requests that come together are of any number."""
    runtime = load_exported(files, "fp32", cache=cache, threads=1)
    shapes: set[tuple[int, ...]] = set()
    filled_up = openvino_runtime._filled_up

    def noted(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = filled_up(tokens)
        shapes.add(rows.shape)
        return rows

    monkeypatch.setattr(openvino_runtime, "_filled_up", noted)
    text = files.tokens()(["one text"])[0]
    for count in range(1, 33):
        batch = TokenBatch(np.arange(count), np.array([text] * count, dtype=np.int64))
        ((places, vectors),) = runtime.run([batch])
        assert len(places) == len(vectors) == count
        np.testing.assert_allclose(vectors, vectors[:1].repeat(count, axis=0), atol=1e-5)
    assert {rows for rows, _ in shapes} == {1, 2, 4, 8, 16, 24, 32}


def test_what_a_receiver_left_is_not_mixed_into_what_the_next_one_gets(files: StudentFiles, cache: Path) -> None:
    assert_receivers_may_stop(load_exported(files, "fp32", cache=cache, threads=1), files)


def test_an_error_in_the_batches_reaches_the_receiver(files: StudentFiles, cache: Path) -> None:
    runtime = load_exported(files, "fp32", cache=cache, threads=1)

    def batches() -> Iterator[TokenBatch]:
        yield TokenBatch(np.array([0]), np.array([[101, 102]]))
        raise ValueError("no more texts")

    with pytest.raises(ValueError, match="no more texts"):
        list(runtime.run(batches()))


def test_the_report_says_how_exact_the_export_is(files: StudentFiles, cache: Path) -> None:
    folder, report = exported(files, cache)
    assert set(report.max_cosine_distance) == set(PRECISIONS)
    assert report.max_cosine_distance["fp32"] < 1e-6
    assert all(distance < TOLERANCE for distance in report.max_cosine_distance.values())
    assert json.loads((folder / "report.json").read_text())["versions"].keys() == {"openvino", "numpy"}


def test_a_student_is_exported_once_and_its_folder_left_alone(
    files: StudentFiles, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    export, report = exported(files, cache)

    def again(files: StudentFiles, draft: Path) -> ExportReport:
        calls.append(draft)
        shutil.copytree(export, draft, dirs_exist_ok=True)
        return report

    monkeypatch.setattr(openvino_export, "_export", again)
    before = content_digest(files.folder), sorted(files.folder.rglob("*"))
    threads = [threading.Thread(target=exported, args=(files, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder, _ = exported(files, tmp_path)
    assert len(calls) == 1
    assert before == (content_digest(files.folder), sorted(files.folder.rglob("*")))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]

    with (folder / "model.bin").open("r+b") as weights:
        weights.seek(100)
        weights.write(b"damaged")
    exported(files, tmp_path)
    assert len(calls) == 2
    assert exported(files, tmp_path)[0] == folder
    assert len(calls) == 2


def test_an_export_that_fails_leaves_nothing(
    files: StudentFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_export, "bert_graph", unusual)
    monkeypatch.setattr("torch.export.export", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.WARNING):
        loaded = Student.load(str(files.folder), device="cpu", runtime="openvino-fp32", cache=tmp_path)
    assert loaded.runtime == "torch"
    assert "cannot be exported for OpenVINO: division by zero" in caplog.text
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("wanted", "level", "why"),
    [
        ("openvino-bf16", "WARNING", "runtime openvino-fp32 in place of openvino-bf16: the CPU ("),
        ("auto", "INFO", "; tried in the order openvino-fp32, openvino-bf16, openvino-int8, torch, numpy"),
    ],
)
def test_a_cpu_without_bf16_computes_in_fp32_and_says_so_once(
    files: StudentFiles,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wanted: WantedRuntime,
    level: str,
    why: str,
) -> None:
    monkeypatch.setattr(openvino_export, "capable_precisions", lambda: ["fp32"])
    with caplog.at_level(logging.INFO, logger="keydistill.encoders"):
        loaded = Student.load(str(files.folder), device="cpu", runtime=wanted, cache=cache)
    assert loaded.runtime == "openvino-fp32"
    assert [record.levelname for record in caplog.records] == [level]
    assert why in caplog.text


@pytest.mark.skipif("bf16" not in PRECISIONS, reason="the CPU computes in fp32 alone")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"texts_per_second": {"fp32": 2.0, "bf16": 1.0}}, "openvino-fp32"),
        ({"texts_per_second": {"fp32": 1.0, "bf16": 2.0}}, "openvino-bf16"),
        # Measured elsewhere it says nothing of this machine.
        ({"texts_per_second": {"fp32": 2.0, "bf16": 1.0}, "cpu": "another"}, "openvino-bf16"),
    ],
)
def test_auto_takes_what_was_faster_on_this_cpu(
    files: StudentFiles, cache: Path, tmp_path: Path, change: str, expected: str
) -> None:
    own = tmp_path / "runtimes"
    shutil.copytree(cache, own)
    folder, report = exported(files, own)
    assert set(report.texts_per_second) == set(PRECISIONS)
    assert all(rate > 0 for rate in report.texts_per_second.values())
    path = folder / export_folder.REPORT
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    assert Student.load(str(files.folder), device="cpu", runtime="auto", cache=own).runtime == expected


def test_a_report_of_an_earlier_version_is_made_again(
    files: StudentFiles, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "runtimes"
    shutil.copytree(cache, own)
    folder, report = exported(files, own)
    path = folder / export_folder.REPORT
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["texts_per_second"]
    path.write_text(json.dumps(old), encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="keydistill.encoders"):
        student = Student.load(str(files.folder), device="cpu", runtime="auto", cache=own)
    assert student.runtime.startswith("openvino-")
    assert "of an earlier version, and is made again" in caplog.text
    assert exported(files, own)[1].max_cosine_distance == report.max_cosine_distance


def test_without_openvino_torch_computes(
    files: StudentFiles, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_export, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        loaded = Student.load(str(files.folder), device="cpu", runtime="openvino-fp32", cache=cache)
    assert loaded.runtime == "torch"
    assert "OpenVINO is not installed" in caplog.text


def test_auto_tries_once_to_export_a_student_that_cannot_be(
    files: StudentFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def fails(*_: object, **__: object) -> None:
        tried.append(1)
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(openvino_export, "bert_graph", unusual)
    monkeypatch.setattr("torch.export.export", fails)
    with caplog.at_level(logging.INFO, logger="keydistill.encoders"):
        loaded = Student.load(str(files.folder), device="cpu", runtime="auto", cache=tmp_path)
    assert loaded.runtime == "torch"
    assert len(tried) == 1
    assert "runtime torch: " in caplog.text


def test_a_precision_that_is_not_exact_enough_is_not_used(
    files: StudentFiles, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_export, "_ALLOWED", {"fp32": -1.0})
    with caplog.at_level(logging.WARNING):
        loaded = Student.load(str(files.folder), device="cpu", runtime="openvino-fp32", cache=cache)
    assert loaded.runtime == "torch"
    assert "at most -1.0 is allowed" in caplog.text


@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_a_number_is_no_distance_that_is_allowed(side: int) -> None:
    pair = [np.ones((3, 4), dtype=np.float32), np.ones((3, 4), dtype=np.float32)]
    assert largest_distance(*pair) == 0
    pair[side][1, 2] = np.nan
    assert not largest_distance(*pair) <= 1


def test_a_gpu_is_left_to_torch(files: StudentFiles, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keydistill.encoders.runtime.choice._has_gpu", lambda: True)
    # As on a machine with one: `device` is not given; there is none here, so torch takes the CPU.
    assert Student.load(str(files.folder), runtime="auto", cache=cache).runtime == "torch"


def test_an_unknown_runtime_is_refused(files: StudentFiles, cache: Path) -> None:
    with pytest.raises(StudentError, match="no runtime 'onnx'; expected one of auto"):
        Student.load(str(files.folder), runtime=cast(WantedRuntime, "onnx"), cache=cache)


def test_a_student_that_is_exported_already_is_loaded_without_torch(files: StudentFiles, cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from keydistill.encoders import Student;"
        f"s = Student.load({str(files.folder)!r}, runtime='openvino-fp32', cache=Path({str(cache)!r}));"
        "assert s.embed_keyphrases(['ps5']).shape == (1, 32) and s.runtime == 'openvino-fp32';"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
