"""The choice of a runtime: the one that was asked for, or the next best that works here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from keydistill.encoders.runtime.export_folder import check_distance
from keydistill.encoders.runtime.native import instructions_if_rounded, int8_rates, load_int8
from keydistill.encoders.runtime.numpy import NumpyRuntime
from keydistill.encoders.runtime.openvino import load_exported, openvino_rates
from keydistill.encoders.runtime.protocol import TOLERANCE, Runtime, RuntimeName, WantedRuntime
from keydistill.encoders.runtime.sample import largest_distance, sample_vectors
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.encoders.student_files import StudentFiles
from keydistill.errors import RuntimeUnavailableError, StorageError, StudentError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Where:
    """The student, cache, threads and device that a runtime is loaded with."""

    files: StudentFiles
    cache: Path
    threads: int | None
    device: str | None


_LOADERS: dict[RuntimeName, Callable[[_Where], Runtime]] = {
    "torch": lambda where: TorchRuntime.load(where.files.folder, threads=where.threads, device=where.device),
    "torch-fp16": lambda where: _in_fp16(where),
    "openvino-fp32": lambda where: load_exported(where.files, "fp32", cache=where.cache, threads=where.threads),
    "openvino-bf16": lambda where: load_exported(where.files, "bf16", cache=where.cache, threads=where.threads),
    "openvino-int8": lambda where: load_exported(where.files, "int8", cache=where.cache, threads=where.threads),
    "native-int8": lambda where: load_int8(where.files, cache=where.cache, threads=where.threads),
    "numpy": lambda where: NumpyRuntime.load(where.files),
}
# What computes in fp32 whatever the CPU can do: numpy where torch is not installed.
_ANYWHERE: tuple[RuntimeName, ...] = ("torch", "numpy")
# Texts from which an export is taken to be worth its seconds. Estimates, from exports that take some seconds and the
# rates in docs/runtimes.md; the point where both sides are equal was not measured.
_WORTH = {"native-": 8_000, "openvino-": 20_000}
# The same for an export to OpenVINO where the int8 kernels compute the student. OpenVINO was slower than they on the
# CPUs in docs/runtimes.md, and its export takes ten seconds: only a long build finds out whether that holds here, too.
_WORTH_BESIDE_NATIVE = 500_000
# Texts below which numpy is taken to be done before OpenVINO has started; an estimate, too.
_OPENVINO_STARTS = 500
# How much faster `native-int8` was than others, by its instructions (docs/runtimes.md); on ARM nobody measured it. With
# AVX-512 the smaller figure of two kinds of CPU; that of numpy is derived from torch's, of which it has two thirds.
_TIMES_BY_ROUNDING: Mapping[str, Mapping[RuntimeName, float]] = {
    "avx512-vnni": {"numpy": 6.5, "torch": 4.5, "openvino-fp32": 3.2, "openvino-bf16": 1.7},
    "avx-vnni": {"numpy": 4.2, "torch": 4.0, "openvino-fp32": 3.3},
    "avx2": {"numpy": 1.9, "torch": 1.8, "openvino-fp32": 1.5},
}
# What is tried for each wish, in this order. For "auto" what proved faster here comes first; where nobody measured it,
# OpenVINO's int8 is left to the end: it can be slower than all others.
_CANDIDATES: dict[WantedRuntime, tuple[RuntimeName, ...]] = {
    "auto": ("native-int8", "openvino-bf16", "openvino-fp32", "openvino-int8", *_ANYWHERE),
    "native-int8": ("native-int8", "openvino-int8", "openvino-bf16", "openvino-fp32", *_ANYWHERE),
    "openvino-int8": ("openvino-int8", "openvino-bf16", "openvino-fp32", *_ANYWHERE),
    "openvino-bf16": ("openvino-bf16", "openvino-fp32", *_ANYWHERE),
    "openvino-fp32": ("openvino-fp32", *_ANYWHERE),
    "torch-fp16": ("torch-fp16", *_ANYWHERE),
    "torch": _ANYWHERE,
    "numpy": ("numpy", "torch"),
}


@dataclass(frozen=True, slots=True)
class ChosenRuntime:
    """A runtime that a student is loaded into, and a clause that says why it is this one."""

    runtime: Runtime
    reason: str


def load_runtime(
    files: StudentFiles,
    wanted: WantedRuntime,
    *,
    cache: Path,
    threads: int | None = None,
    device: str | None = None,
    texts: int | None = None,
) -> ChosenRuntime:
    """Load a student's weights into a runtime.

    One line in the log says which one is taken in place of the wanted one, and why: a warning, or information where
    "auto" left the choice open, or numpy stands in for torch, which computes the same.

    Args:
        files: The student.
        wanted: Name of a runtime, or "auto": torch where there is a GPU, in fp16 if that keeps to the tolerance;
            otherwise what is fastest here of what keeps to it.
        cache: Folder in which exported students are kept.
        threads: Threads for arithmetic on CPU; None takes one per core.
        device: "cpu" or "cuda"; None takes a GPU where there is one. Only torch knows a GPU.
        texts: Number of texts that are to be embedded, roughly; None if nobody knows, or there is no end to them. With
            "auto", few texts do not wait for an export, nor for the import of torch.

    Raises:
        StudentError: The student cannot be loaded, or nothing that is installed computes it.
        StorageError: An exported student cannot be written, and "auto" does not leave the choice open.
    """
    if wanted not in _CANDIDATES:
        raise StudentError(f"there is no runtime {wanted!r}; expected one of {', '.join(_CANDIDATES)}")
    where = _Where(files, cache, threads, device)
    plan = _automatic(where, texts) if wanted == "auto" else _Plan(_CANDIDATES[wanted])
    reasons = list(plan.reasons)
    for name in plan.candidates:
        try:
            runtime = _LOADERS[name](where)
        except RuntimeUnavailableError as error:
            reasons.append(str(error))
            continue
        why = "; ".join(dict.fromkeys(reasons))
        if wanted == "auto":
            tried = f"tried in the order {', '.join(plan.candidates)}"
            _log.info("runtime %s: %s", name, "; ".join(filter(None, [why, tried])))
            why = "; ".join(filter(None, [plan.because(name) or why, plan.advice(where, name)]))
        elif reasons:
            level = logging.INFO if (wanted, name) == ("torch", "numpy") else logging.WARNING
            _log.log(level, "runtime %s in place of %s: %s", name, wanted, why)
        return ChosenRuntime(runtime, why or "as the settings say")
    raise StudentError(f"nothing that is installed computes it: {'; '.join(dict.fromkeys(reasons))}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """The order in which runtimes are tried.

    Attributes:
        candidates: Names of the runtimes, the first one first.
        reasons: Why others are not among them.
        rates: Texts per second of those that were measured on this CPU.
        texts: Number of texts, if they are few.
        has_gpu: Whether there is a GPU to compute on.
    """

    candidates: tuple[RuntimeName, ...]
    reasons: tuple[str, ...] = ()
    rates: Mapping[RuntimeName, float] = field(default_factory=dict)
    texts: int | None = None
    has_gpu: bool = False

    def because(self, name: RuntimeName) -> str:
        """Why "auto" takes a runtime; nothing where only the failures of the others say it."""
        if self.has_gpu:
            return "there is a GPU"
        if name in self.rates:
            order = sorted(self.rates, key=lambda each: -self.rates[each])
            return "texts per second here: " + ", ".join(f"{each} {self.rates[each]:,.0f}" for each in order)
        return "" if self.texts is None else f"it starts at once, which counts with so few texts ({self.texts:,})"

    def advice(self, where: _Where, name: RuntimeName) -> str:
        """What rounding the student for int8 would bring, where its kind and this CPU allow that."""
        instructions = instructions_if_rounded(where.files) if self.texts is None else None
        times = _TIMES_BY_ROUNDING.get(instructions or "", {}).get(name)
        return "" if times is None else f"rounded for int8 it would be {times} times as fast (docs/runtimes.md#int8)"


def _automatic(where: _Where, texts: int | None) -> _Plan:
    """The runtimes that can be tried on this machine, in the order of their speed here."""
    is_few = texts is not None and texts < _WORTH["native-"]
    # Asking for a GPU, as computing on it, imports torch, which takes longer than few texts do.
    asks_gpu = where.device != "cpu" and (not is_few or "torch" in sys.modules)
    if asks_gpu and (where.device is not None or _has_gpu()):
        return _Plan(_CANDIDATES["torch-fp16"], has_gpu=True)
    plain = ("numpy", "torch") if is_few and "torch" not in sys.modules else _ANYWHERE
    order = [name for name in _CANDIDATES["auto"] if name not in plain]
    rates, reasons, measured_here, has_native = dict[RuntimeName, float](), list[str](), True, False
    for prefix, rates_of in (("native-", int8_rates), ("openvino-", openvino_rates)):
        if has_native:
            pays = texts is not None and texts >= _WORTH_BESIDE_NATIVE
        else:
            pays = texts is None or texts >= _WORTH[prefix]
        try:
            own_rates = rates_of(where.files, where.cache, export=pays)
        except (RuntimeUnavailableError, StorageError) as error:
            # In no precision: trying each would try to export the student each time. On a full disk, or in a home that
            # may only be read, what needs no export computes.
            reasons.append(str(error))
            order = [name for name in order if not name.startswith(prefix)]
        else:
            has_native = True
            rates |= own_rates
            measured_here = measured_here and bool(own_rates)
    if measured_here:
        # Those that this CPU, or the student, does not have keep their order, behind the others.
        order.sort(key=lambda name: -rates.get(name, 0.0))
    if texts is not None and texts < _OPENVINO_STARTS and plain[0] == "numpy":
        order.sort(key=lambda name: name.startswith("openvino-"))
        exports = [name for name in order if name.startswith("native-")]
        order = [*exports, *plain, *(name for name in order if name not in exports)]
    else:
        order += plain
    return _Plan(tuple(order), tuple(reasons), rates, texts if is_few else None)


def _in_fp16(where: _Where) -> Runtime:
    # A sample tells at each load whether it is exact enough, which takes a fraction of a second on a GPU.
    full = TorchRuntime.load(where.files.folder, threads=where.threads, device=where.device)
    half = full.in_fp16()
    tokens = where.files.tokens()
    expected = sample_vectors(full, tokens)
    try:
        distance = largest_distance(expected, sample_vectors(half, tokens))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise RuntimeUnavailableError(f"this GPU does not compute it in fp16: {reason}") from error
    check_distance(where.files, "fp16", distance, TOLERANCE)
    return half


def _has_gpu() -> bool:
    # Asking torch costs seconds: it is asked only where it is installed, and the system has the device of one.
    if find_spec("torch") is None:
        return False
    if not any(any(Path("/dev").glob(pattern)) for pattern in ("nvidia[0-9]*", "kfd", "dxg")):
        return False
    import torch

    return torch.cuda.is_available()
