"""The choice of a runtime: the one that was asked for, or the next best that works here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from keydistill.encoders.runtime.export_folder import check_distance
from keydistill.encoders.runtime.native import int8_rates, load_int8
from keydistill.encoders.runtime.numpy import NumpyRuntime
from keydistill.encoders.runtime.openvino import load_exported, openvino_rates
from keydistill.encoders.runtime.protocol import TOLERANCE, Runtime, RuntimeName, WantedRuntime
from keydistill.encoders.runtime.sample import largest_distance, sample_vectors
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.encoders.student_files import StudentFiles
from keydistill.errors import RuntimeUnavailableError, StudentError

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


def load_runtime(
    files: StudentFiles,
    wanted: WantedRuntime,
    *,
    cache: Path,
    threads: int | None = None,
    device: str | None = None,
) -> Runtime:
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

    Raises:
        StudentError: The student cannot be loaded, or nothing that is installed computes it.
        StorageError: An exported student cannot be written.
    """
    if wanted not in _CANDIDATES:
        raise StudentError(f"there is no runtime {wanted!r}; expected one of {', '.join(_CANDIDATES)}")
    where = _Where(files, cache, threads, device)
    candidates = _CANDIDATES[wanted]
    reasons: list[str] = []
    if wanted == "auto" and device != "cpu" and (device is not None or _has_gpu()):
        candidates = _CANDIDATES["torch-fp16"]
    elif wanted == "auto":
        candidates, reasons = _fastest_first(where)
    for name in candidates:
        try:
            runtime = _LOADERS[name](where)
        except RuntimeUnavailableError as error:
            reasons.append(str(error))
            continue
        if wanted == "auto":
            tried = f"tried in the order {', '.join(candidates)}"
            _log.info("runtime %s: %s", name, "; ".join([*dict.fromkeys(reasons), tried]))
        elif reasons:
            level = logging.INFO if (wanted, name) == ("torch", "numpy") else logging.WARNING
            _log.log(level, "runtime %s in place of %s: %s", name, wanted, "; ".join(dict.fromkeys(reasons)))
        return runtime
    raise StudentError(f"nothing that is installed computes it: {'; '.join(dict.fromkeys(reasons))}")


def _fastest_first(where: _Where) -> tuple[tuple[RuntimeName, ...], list[str]]:
    """The runtimes that can be tried on this CPU, in the order of their speed here, and why others cannot."""
    order, rates, reasons = list(_CANDIDATES["auto"]), dict[RuntimeName, float](), list[str]()
    measured_here = True
    for prefix, rates_of in (("native-", int8_rates), ("openvino-", openvino_rates)):
        try:
            own_rates = rates_of(where.files, where.cache)
        except RuntimeUnavailableError as error:
            # In no precision: trying each would try to export the student each time.
            reasons.append(str(error))
            order = [name for name in order if not name.startswith(prefix)]
        else:
            rates |= own_rates
            measured_here = measured_here and bool(own_rates)
    if measured_here:
        # Those that this CPU, or the student, does not have keep their order, behind the others.
        order.sort(key=lambda name: -rates.get(name, 0.0))
    return tuple(order), reasons


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
