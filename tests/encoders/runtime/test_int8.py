"""A student whose weights are on the grid of int8 is computed in int8, and its answers stay."""

import json
import logging
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense

from keydistill.distillation.student.base import cut_layers
from keydistill.distillation.student.rotation import rotate
from keydistill.distillation.student.rounding import round_student
from keydistill.encoders import Student, StudentFiles, find_model
from keydistill.encoders.int8_grid import INT8_SCALES, grid_levels, rounded
from keydistill.encoders.runtime import INT8_TOLERANCE, WantedRuntime
from keydistill.encoders.runtime.bert.usual import UsualBert
from keydistill.encoders.runtime.cpu import Precision
from keydistill.encoders.runtime.native import export as int8_export
from keydistill.encoders.runtime.openvino import export as openvino_export
from keydistill.encoders.runtime.openvino.graph import bert_graph
from keydistill.encoders.runtime.openvino.runtime import OpenVinoRuntime
from keydistill.errors import StudentError
from tests.support.embeddings import assert_one_vector_per_text, distances, many_texts
from tests.support.int8 import why_no_kernels
from tests.support.tiny_models import make_tiny_student

pytest.importorskip("openvino")


def has_vnni() -> bool:
    """Whether the CPU has instructions for int8; without them OpenVINO computes the same weights in fp32."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512_vnni" in flags.read_text()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of the base, turned: wide enough that OpenVINO rounds the inputs of its linear layers."""
    model = SentenceTransformer(str(find_model("sentence-transformers/all-MiniLM-L6-v2")), device="cpu")
    cut_layers(model, 2)
    rotate(model, many_texts(500))
    folder = tmp_path_factory.mktemp("students") / "plain"
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def on_grid(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(plain, tmp_path_factory.mktemp("students") / "on-grid")
    assert round_student(folder, many_texts(500, seed=1))
    return folder


@pytest.fixture(scope="module")
def narrow_on_grid(on_grid: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory, either: WantedRuntime) -> Path:
    """A student that `either` computes; of two narrow layers where that can be, whose exports take a tenth of it."""
    if either != "native-int8":
        return on_grid
    folder = make_tiny_student(tmp_path_factory.mktemp("students") / "narrow", width=128, heads=4, layers=2)
    assert round_student(folder, many_texts(300))
    assert Student.load(str(folder), device="cpu", runtime=either, cache=cache).runtime == either
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="module", params=["openvino-int8", "native-int8"])
def wanted(request: pytest.FixtureRequest) -> WantedRuntime:
    if request.param == "native-int8" and why_no_kernels():
        pytest.skip(why_no_kernels())
    return cast(WantedRuntime, request.param)


@pytest.fixture(scope="module")
def either() -> WantedRuntime:
    """One of the two, for what both read in the same way: the kernels, whose exports take less time."""
    return "openvino-int8" if why_no_kernels() else "native-int8"


@pytest.fixture(scope="module")
def int8(on_grid: Path, cache: Path, wanted: WantedRuntime) -> Student:
    student = Student.load(str(on_grid), runtime=wanted, cache=cache, threads=2)
    assert student.runtime == wanted
    return student


def test_vectors_agree_with_fp32_to_the_tolerance(int8: Student, on_grid: Path, cache: Path) -> None:
    texts = many_texts(800, seed=2)
    gaps = distances(int8.embed_keyphrases(texts), Student.load(str(on_grid), device="cpu").embed_keyphrases(texts))
    assert gaps.max() < INT8_TOLERANCE
    if has_vnni():
        assert gaps.mean() > 1e-6


def test_a_text_has_one_vector_whatever_stands_beside_it(int8: Student) -> None:
    # Without VNNI, OpenVINO computes what is left in fp32 in another order for another number of texts.
    assert_one_vector_per_text(int8, 0.0 if has_vnni() or int8.runtime == "native-int8" else 1e-6)


def test_rounded_weights_are_nearer_in_int8_than_weights_that_are_not(
    plain: Path, on_grid: Path, cache: Path, int8: Student
) -> None:
    texts = many_texts(800, seed=2)
    own = Student.load(str(on_grid), device="cpu").embed_keyphrases(texts)
    before = Student.load(str(plain), device="cpu").embed_keyphrases(texts)
    # What rounding did to the student is several times what int8 then adds.
    assert distances(own, before).mean() > 2 * distances(int8.embed_keyphrases(texts), own).mean()
    assert distances(own, before).mean() < 5e-3


def test_a_student_that_was_not_rounded_is_computed_otherwise(
    plain: Path, cache: Path, caplog: pytest.LogCaptureFixture, wanted: WantedRuntime
) -> None:
    with caplog.at_level(logging.WARNING):
        student = Student.load(str(plain), device="cpu", runtime=wanted, cache=cache)
    assert student.runtime in ("openvino-bf16", "openvino-fp32")
    assert "were not rounded for int8; trainings do that" in caplog.text


def test_weights_that_left_the_grid_are_not_taken_for_int8(
    narrow_on_grid: Path, cache: Path, tmp_path: Path, either: WantedRuntime
) -> None:
    moved = shutil.copytree(narrow_on_grid, tmp_path / "moved")
    weights = load_file(moved / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][3, 5] *= 1.01
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    for _ in range(2):
        student = Student.load(str(moved), device="cpu", runtime=either, cache=cache)
        assert student.runtime in ("openvino-bf16", "openvino-fp32")


@pytest.mark.parametrize("damage", ["cut", "of another width", "of fewer layers"])
def test_scales_that_do_not_fit_are_said_or_not_used(
    narrow_on_grid: Path, cache: Path, tmp_path: Path, damage: str, either: WantedRuntime
) -> None:
    folder = shutil.copytree(narrow_on_grid, tmp_path / "student")
    file = folder / INT8_SCALES
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(StudentError, match=r"int8\.safetensors cannot be read .* retrain or copy"):
            Student.load(str(folder), device="cpu", runtime=either, cache=cache)
        return
    scales = load_file(file)
    save_file(
        {name: values[:8] for name, values in scales.items()}
        if damage == "of another width"
        else {name: values for name, values in scales.items() if name.startswith("layer.0")},
        file,
    )
    student = Student.load(str(folder), device="cpu", runtime=either, cache=cache)
    assert student.runtime in ("openvino-bf16", "openvino-fp32")


def test_int8_that_is_too_far_off_is_not_used(
    on_grid: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wanted: WantedRuntime
) -> None:
    monkeypatch.setattr(openvino_export, "_ALLOWED", {**openvino_export._ALLOWED, "int8": 1e-12})
    monkeypatch.setattr(int8_export, "INT8_TOLERANCE", 1e-12)
    with caplog.at_level(logging.WARNING):
        student = Student.load(str(on_grid), device="cpu", runtime=wanted, cache=cache)
    if has_vnni():
        assert student.runtime in ("openvino-bf16", "openvino-fp32")
        assert "in int8 student on-grid" in caplog.text


def test_a_student_is_rounded_once(on_grid: Path, tmp_path: Path) -> None:
    again = shutil.copytree(on_grid, tmp_path / "again")
    before = load_file(again / "model.safetensors")
    scales = load_file(again / INT8_SCALES)
    assert round_student(again, many_texts(500, seed=1))
    after = load_file(again / "model.safetensors")
    # Its inputs have hardly changed: so its scales are nearly the same, and its weights are where they were.
    assert set(before) == set(after)
    for name, values in load_file(again / INT8_SCALES).items():
        np.testing.assert_allclose(values, scales[name], rtol=0.1)
    assert max(float(np.abs(before[name] - after[name]).max()) for name in before) < 0.02


def test_the_grid_gives_back_what_was_put_on_it() -> None:
    dice = np.random.default_rng(0)
    weights = dice.normal(size=(40, 24)).astype(np.float32)
    weights[7] = 0
    scales = dice.uniform(0.1, 3, size=24).astype(np.float32)
    on_grid = rounded(weights, scales)
    on_levels = grid_levels(on_grid, scales)
    assert on_levels is not None
    levels, steps = on_levels
    assert levels.dtype == np.int8
    assert np.abs(levels).max() == 127
    np.testing.assert_allclose(levels * steps / scales, on_grid, atol=1e-6)
    # No weight moved by more than half a step.
    assert np.all(np.abs(on_grid - weights) * scales <= steps * 0.501)
    assert grid_levels(weights, scales) is None
    assert grid_levels(on_grid, np.ones(24, dtype=np.float32)) is None


@pytest.mark.parametrize("change", ["dense with tanh", "pooling of the first token", "another activation"])
def test_a_student_that_is_not_quite_usual_is_exported_by_way_of_torch(
    tiny_folder: Path, cache: Path, tmp_path: Path, change: str
) -> None:
    import torch

    folder = tmp_path / "student"
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    if change == "dense with tanh":
        SentenceTransformer(
            modules=[*model, Dense(32, 16, activation_function=torch.nn.Tanh())], device="cpu"
        ).save_pretrained(str(folder), create_model_card=False)
    else:
        model.save_pretrained(str(folder), create_model_card=False)
        file, key, value = {
            "pooling of the first token": (folder / "1_Pooling" / "config.json", "pooling_mode", "cls"),
            "another activation": (folder / "config.json", "hidden_act", "relu"),
        }[change]
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    usual = UsualBert.of(StudentFiles.find(str(folder)).layout)
    assert usual is not None
    assert bert_graph(usual) is None
    if change != "dense with tanh":
        return  # one export of the three is enough
    texts = many_texts(50)
    expected = Student.load(str(folder), device="cpu").embed_keyphrases(texts)
    student = Student.load(str(folder), device="cpu", runtime="openvino-fp32", cache=cache)
    assert student.runtime == "openvino-fp32"
    assert distances(student.embed_keyphrases(texts), expected).max() < 1e-6


def test_a_dense_layer_with_a_bias_is_part_of_the_graph(
    tiny_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = SentenceTransformer(str(tiny_folder), device="cpu")
    torch.manual_seed(0)
    SentenceTransformer(
        modules=[*model, Dense(32, 16, activation_function=torch.nn.Identity())], device="cpu"
    ).save_pretrained(str(tmp_path / "student"), create_model_card=False)
    monkeypatch.setattr("torch.export.export", lambda *_, **__: 1 / 0)
    texts = many_texts(50)
    expected = Student.load(str(tmp_path / "student"), device="cpu").embed_keyphrases(texts)
    student = Student.load(str(tmp_path / "student"), device="cpu", runtime="openvino-fp32", cache=cache)
    assert student.runtime == "openvino-fp32"
    assert student.dimension == 16
    assert distances(student.embed_keyphrases(texts), expected).max() < 1e-6


def test_a_precision_that_openvino_promises_and_does_not_compute_is_left_out(
    narrow_on_grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Promising(OpenVinoRuntime):
        def __init__(self, graph: Path, precision: Precision, *, threads: int | None = None) -> None:
            if precision == "int8":
                raise RuntimeError("could not create a primitive descriptor")
            super().__init__(graph, precision, threads=threads)

    monkeypatch.setattr(openvino_export, "OpenVinoRuntime", Promising)
    monkeypatch.setattr(openvino_export, "capable_precisions", lambda: ["fp32", "int8"])
    with caplog.at_level(logging.INFO):
        student = Student.load(str(narrow_on_grid), device="cpu", runtime="openvino-int8", cache=tmp_path)
    assert student.runtime == "openvino-fp32"
    assert "is not computed in int8 here: could not create a primitive descriptor" in caplog.text
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "OpenVINO does not compute the student in int8 on this CPU" in warning
