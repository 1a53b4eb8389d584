"""The runtime `auto`: the fastest one here, and no export that costs more than it saves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from keydistill.encoders import Student
from keydistill.encoders.runtime import choice
from keydistill.encoders.runtime.protocol import RuntimeName
from keydistill.encoders.student_files import StudentFiles
from keydistill.errors import RuntimeUnavailableError, StorageError
from keydistill.settings import load_settings

_WORTH = choice._WORTH


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The exports that were asked for: of what, and whether it was to be made. There are none, and none is made."""
    asked: list[tuple[str, bool]] = []

    def rates(form: str) -> object:
        def none(files: StudentFiles, cache: Path, *, export: bool) -> dict[RuntimeName, float]:
            asked.append((form, export))
            raise RuntimeUnavailableError(f"no {form} here")

        return none

    monkeypatch.setattr(choice, "int8_rates", rates("native"))
    monkeypatch.setattr(choice, "openvino_rates", rates("openvino"))
    return asked


@pytest.fixture
def no_torch_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported torch."""
    monkeypatch.setattr(choice, "sys", SimpleNamespace(modules={}))


def automatic(folder: Path, cache: Path, texts: int | None, device: str | None = "cpu") -> Student:
    return Student.load(str(folder), device=device, runtime="auto", cache=cache, texts=texts)


def test_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYDISTILL_RUNTIME")
    assert load_settings().runtime == "auto"


@pytest.mark.parametrize(
    ("texts", "native", "openvino"),
    [
        (1, False, False),
        (_WORTH["native-"] - 1, False, False),
        (_WORTH["native-"], True, False),
        (_WORTH["openvino-"], True, True),
        (None, True, True),
    ],
)
def test_an_export_is_made_where_it_saves_more_than_it_costs(
    tiny_folder: Path, tmp_path: Path, exports: list[tuple[str, bool]], texts: int | None, native: bool, openvino: bool
) -> None:
    student = automatic(tiny_folder, tmp_path, texts)
    assert exports == [("native", native), ("openvino", openvino)]
    assert student.runtime == "torch"
    assert ("starts at once" in student.runtime_reason) == (not native)
    assert ("no native here; no openvino here" in student.runtime_reason) == native


@pytest.mark.parametrize(
    ("texts", "openvino"),
    [
        (_WORTH["openvino-"], False),
        (choice._WORTH_BESIDE_NATIVE - 1, False),
        (choice._WORTH_BESIDE_NATIVE, True),
        # A service does not wait for a second export before its first answer.
        (None, False),
    ],
)
def test_beside_the_kernels_only_a_long_build_pays_for_a_second_export(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exports: list[tuple[str, bool]],
    texts: int | None,
    openvino: bool,
) -> None:
    monkeypatch.setattr(choice, "int8_rates", lambda *_, **__: {"native-int8": 2_000.0})
    where = choice._Where(StudentFiles.find(str(tiny_folder)), tmp_path, None, "cpu")
    plan = choice._automatic(where, texts)
    assert exports == [("openvino", openvino)]
    assert plan.candidates == ("native-int8", "torch", "numpy")


def test_few_texts_leave_the_cache_empty(tiny_folder: Path, tmp_path: Path) -> None:
    automatic(tiny_folder, tmp_path / "cache", 100)
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("exports", "no_torch_yet")
@pytest.mark.parametrize(("texts", "expected"), [(1, "numpy"), (_WORTH["native-"], "torch")])
def test_few_texts_do_not_wait_for_torch(tiny_folder: Path, tmp_path: Path, texts: int, expected: str) -> None:
    assert automatic(tiny_folder, tmp_path, texts).runtime == expected


@pytest.mark.usefixtures("exports")
def test_a_gpu_is_asked_for_where_torch_pays(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_torch_yet: None
) -> None:
    monkeypatch.setattr(choice, "_has_gpu", lambda: True)
    assert automatic(tiny_folder, tmp_path, 1, device=None).runtime == "numpy"
    many = automatic(tiny_folder, tmp_path, None, device=None)
    # There is none in truth, so that fp16 gives way.
    assert (many.runtime, many.runtime_reason) == ("torch", "there is a GPU")


@pytest.mark.usefixtures("no_torch_yet")
@pytest.mark.parametrize(
    ("texts", "order"),
    [
        # It is exported already, and starting OpenVINO takes longer than a few texts in numpy.
        (1, ["native-int8", "numpy", "torch", "openvino-bf16", "openvino-fp32", "openvino-int8"]),
        (1_000, ["openvino-bf16", "native-int8", "openvino-fp32", "openvino-int8", "numpy", "torch"]),
        (None, ["openvino-bf16", "native-int8", "openvino-fp32", "openvino-int8", "torch", "numpy"]),
    ],
)
def test_the_order_is_that_of_speed_and_start(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: int | None, order: list[str]
) -> None:
    rates = {"openvino-bf16": 3_000.0, "openvino-fp32": 1_000.0}
    monkeypatch.setattr(choice, "int8_rates", lambda *_, **__: {"native-int8": 2_000.0})
    monkeypatch.setattr(choice, "openvino_rates", lambda *_, **__: rates)
    where = choice._Where(StudentFiles.find(str(tiny_folder)), tmp_path, None, "cpu")
    plan = choice._automatic(where, texts)
    assert list(plan.candidates) == order
    assert plan.because("native-int8") == (
        "texts per second here: openvino-bf16 3,000, native-int8 2,000, openvino-fp32 1,000"
    )


def test_where_nothing_can_be_written_it_computes_all_the_same(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: list[tuple[str, bool]]
) -> None:
    def full_disk(*_: object, **__: object) -> dict[RuntimeName, float]:
        raise StorageError("the disk is full")

    monkeypatch.setattr(choice, "int8_rates", full_disk)
    student = automatic(tiny_folder, tmp_path, None)
    assert student.runtime == "torch"
    assert "the disk is full" in student.runtime_reason


@pytest.mark.parametrize(
    ("texts", "instructions", "times"),
    [(None, "avx512-vnni", "4.5"), (None, "avx2", "1.8"), (None, "neon-dotprod", ""), (10, "avx512-vnni", "")],
)
def test_what_rounding_would_bring_is_named(
    student: Student,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exports: list[tuple[str, bool]],
    texts: int | None,
    instructions: str,
    times: str,
) -> None:
    monkeypatch.setattr("keydistill.encoders.runtime.native.export.int8_instructions", lambda: instructions)
    loaded = Student.load(student.source, device="cpu", runtime="auto", cache=tmp_path, texts=texts)
    assert (f"rounded for int8 it would be {times} times as fast" in loaded.runtime_reason) == bool(times)


def test_sizes_that_the_kernels_do_not_know_are_promised_nothing(
    tiny_folder: Path, tmp_path: Path, exports: list[tuple[str, bool]]
) -> None:
    assert "rounded for int8" not in automatic(tiny_folder, tmp_path, None).runtime_reason


def test_a_runtime_that_the_settings_name_is_taken(tiny_folder: Path) -> None:
    student = Student.load(str(tiny_folder), device="cpu", runtime="numpy", texts=1)
    assert (student.runtime, student.runtime_reason) == ("numpy", "as the settings say")
