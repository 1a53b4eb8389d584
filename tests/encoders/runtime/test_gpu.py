"""On a GPU torch computes in fp16, and the answers are those of fp32."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keydistill.encoders import Student
from keydistill.encoders.runtime import TOLERANCE, WantedRuntime

TEXTS = [f"{word} number {number}" for number in range(3_000) for word in ("shoes", "usb c cable", "a")]

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
@pytest.mark.parametrize("wanted", ["auto", "torch-fp16"])
def test_fp16_agrees_with_fp32_to_the_tolerance(tiny_folder: Path, wanted: WantedRuntime) -> None:
    half = Student.load(str(tiny_folder), runtime=wanted)
    assert half.runtime == "torch-fp16"
    expected = Student.load(str(tiny_folder), device="cpu").embed_keyphrases(TEXTS)
    vectors = half.embed_keyphrases(TEXTS)
    assert vectors.dtype == np.float32
    assert (1 - (vectors.astype(np.float64) * expected).sum(axis=1)).max() < TOLERANCE
    # Not the same to the last digit: it was not fp32 that computed.
    assert not np.array_equal(vectors, Student.load(str(tiny_folder), device="cuda").embed_keyphrases(TEXTS))


@gpu
def test_a_receiver_that_stops_early_leaves_the_gpu_to_the_next(tiny_folder: Path) -> None:
    student = Student.load(str(tiny_folder), runtime="torch-fp16")
    expected = student.embed_keyphrases(TEXTS)
    batches: Any = student._read(TEXTS)
    next(iter(batches))
    batches.close()
    np.testing.assert_array_equal(student.embed_keyphrases(TEXTS), expected)


@gpu
def test_a_student_that_fp16_makes_another_is_computed_in_fp32(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("keydistill.encoders.runtime.choice.TOLERANCE", -1.0)
    with caplog.at_level(logging.WARNING):
        assert Student.load(str(tiny_folder), runtime="torch-fp16").runtime == "torch"
    assert "in fp16 student tiny" in caplog.text


def test_without_a_gpu_torch_computes_in_fp32_and_says_why(tiny_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        student = Student.load(str(tiny_folder), device="cpu", runtime="torch-fp16")
    assert student.runtime == "torch"
    assert "runtime torch in place of torch-fp16: torch computes in fp16 on GPUs alone" in caplog.text
