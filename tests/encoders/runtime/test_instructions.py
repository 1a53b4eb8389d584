"""The int8 kernels for every set of instructions: those of this CPU, and those of ARM on an emulated one."""

import ctypes
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.encoders.runtime.native import kernels
from keydistill.encoders.runtime.native.kernels import int8_kernels_version, usable_instructions
from keydistill.errors import RuntimeUnavailableError
from tests.support.int8 import USABLE, why_no_kernels
from tests.support.places import ROOT

needs_kernels = pytest.mark.skipif(bool(why_no_kernels()), reason=why_no_kernels() or "-")

_NATIVE = ROOT / "encoders" / "runtime" / "native"
_DRIVER = Path(__file__).with_name("int8_driver.c")
# As pyproject.toml has them, and every warning; of a library without Python.
_OPTIONS = "-g -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror"
# Largest difference of a component; the driver's vectors are of components around 1.
_DRIVER_TOLERANCE = 2e-3


def product(instructions: str, levels: Any, inputs: Any, group: int) -> Any:
    """A linear layer of levels, shape (outputs, inputs), whose steps are 1, over rows of inputs."""
    outputs, width = levels.shape
    packed = np.ascontiguousarray(levels.reshape(-1, 64, width // 4, 4).swapaxes(1, 2))
    sums = levels.reshape(outputs, -1, group).sum(axis=2, dtype=np.int32)
    offsets = np.ascontiguousarray(-128 * sums.T)
    steps, bias = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
    addresses = [each.ctypes.data for each in (packed, offsets, steps, bias)]
    layer = kernels._Linear(width, outputs, group, *addresses)
    result = np.empty((len(inputs), outputs), np.float32)
    run = kernels._library()[0].int8_bert_linear
    run.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p)
    number = usable_instructions()[instructions]
    assert run(number, ctypes.addressof(layer), inputs.ctypes.data, len(inputs), result.ctypes.data) == 0
    return result


@needs_kernels
@pytest.mark.parametrize("instructions", USABLE)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 13])
@pytest.mark.parametrize("are_extreme", [False, True])
def test_sums_of_products_are_exact(instructions: str, rows: int, are_extreme: bool) -> None:
    """Also where all that is multiplied is as large as it may be: nothing is cut off at 16 bits."""
    dice = np.random.default_rng(rows)
    group = 128
    values = np.array([-127, 127, 127, 127] if are_extreme else range(-127, 128))
    levels = dice.choice(values, size=(192, 3 * group)).astype(np.int8)
    inputs = dice.choice(values, size=(rows, 3 * group)).astype(np.float32)
    # So that a step is 1, and what is rounded is what is given.
    inputs[:, ::group] = 127
    expected = inputs.astype(np.int64) @ levels.T.astype(np.int64)
    # Below 2^24, every whole number is one of fp32.
    np.testing.assert_array_equal(product(instructions, levels, inputs, group), expected.astype(np.float32))


@needs_kernels
def test_instructions_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYDISTILL_INT8_INSTRUCTIONS", "sse9")
    expected = f"is 'sse9'; expected instructions .* this CPU has: {', '.join(USABLE)}"
    with pytest.raises(RuntimeUnavailableError, match=expected):
        int8_kernels_version()


@needs_kernels
def test_an_export_belongs_to_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates and distances that were measured with others do not hold."""
    versions = []
    for instructions in USABLE:
        monkeypatch.setenv("KEYDISTILL_INT8_INSTRUCTIONS", instructions)
        versions.append(int8_kernels_version())
    assert [version.partition("-")[2] for version in versions] == list(USABLE)
    monkeypatch.delenv("KEYDISTILL_INT8_INSTRUCTIONS")
    assert int8_kernels_version() == versions[0]


def driver(folder: Path, compiler: str, *, runs_in: str = "") -> dict[str, Any]:
    """What the driver prints: vectors by instructions, all sums of products being exact."""
    for tool in (compiler, runs_in):
        name = tool.partition(" ")[0]
        if name and shutil.which(name) is None:
            pytest.skip(
                f"{name} is not installed (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user, clang)"
            )
    program = folder / "driver"
    sources = [str(_DRIVER), *(str(file) for file in sorted(_NATIVE.glob("*.c")))]
    command = [*shlex.split(compiler), *_OPTIONS.split(), f"-I{_NATIVE}", *sources, "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    output = subprocess.run([*shlex.split(runs_in), str(program)], check=True, capture_output=True, text=True).stdout
    vectors = {}
    for line in output.splitlines():
        instructions, count, wrong, *numbers = line.split()
        assert int(count) > 50_000
        assert int(wrong) == 0
        vectors[instructions] = np.array(numbers, dtype=np.float64)
        assert np.isfinite(vectors[instructions]).all()
    return vectors


@pytest.mark.slow
@needs_kernels
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_memory_and_numbers_are_used_as_the_language_allows(tmp_path: Path, compiler: str) -> None:
    vectors = driver(tmp_path, f"{compiler} -O1 -fsanitize=address,undefined -fno-sanitize-recover=all")
    assert list(vectors) == list(USABLE)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["aarch64-linux-gnu-gcc", "clang --target=aarch64-linux-gnu"])
def test_an_arm_with_the_dot_product_computes_the_same(tmp_path: Path, compiler: str) -> None:
    here = driver(tmp_path, "gcc -O3")
    on_arm = driver(tmp_path, f"{compiler} -O3 -static", runs_in="qemu-aarch64 -cpu max")
    assert list(on_arm) == ["neon-dotprod"]
    for vectors in here.values():
        np.testing.assert_allclose(on_arm["neon-dotprod"], vectors, rtol=0, atol=_DRIVER_TOLERANCE)


@pytest.mark.slow
def test_an_arm_without_it_has_no_kernels(tmp_path: Path) -> None:
    assert driver(tmp_path, "aarch64-linux-gnu-gcc -O1 -static", runs_in="qemu-aarch64 -cpu cortex-a72") == {}
