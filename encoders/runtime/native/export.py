"""A student's weights for the int8 kernels.

weights.npy              as `keydistill.encoders.runtime.native.layout` has them; none of a student that the kernels
do not compute

Where they lie, and what is reported of them: `keydistill.encoders.runtime.export_folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from keydistill.encoders.int8_grid import INT8_SCALES
from keydistill.encoders.runtime.bert import BertWeights, UnusualError, UsualBert
from keydistill.encoders.runtime.cpu import Precision, cpu_name
from keydistill.encoders.runtime.export_folder import (
    ExportReport,
    check_distance,
    compared,
    kept_export,
    not_exported,
    not_rounded,
    read_report,
    reference_runtime,
)
from keydistill.encoders.runtime.native import layout as int8_layout
from keydistill.encoders.runtime.native.kernels import int8_instructions, int8_kernels_version
from keydistill.encoders.runtime.native.runtime import Int8Runtime
from keydistill.encoders.runtime.protocol import INT8_TOLERANCE, RuntimeName
from keydistill.encoders.student_files import StudentFiles
from keydistill.errors import RuntimeUnavailableError

_FILE = "weights.npy"


def load_int8(files: StudentFiles, *, cache: Path, threads: int | None = None) -> Int8Runtime:
    """Load a student's weights in int8; they are exported first where that has not been done.

    Args:
        files: The student.
        cache: Folder in which exported students are kept.
        threads: Threads for arithmetic; None takes one per core.

    Raises:
        RuntimeUnavailableError: The kernels cannot be used here (`int8_kernels_version`), or the student is not of the
            usual kind, was not rounded for int8, or differs by more than is allowed from the original.
        StorageError: They cannot be written.
    """
    folder, report = _exported(files, cache)
    check_distance(files, "int8", _computed(files, report.max_cosine_distance), INT8_TOLERANCE)
    return Int8Runtime(folder / _FILE, threads=threads)


def int8_rates(files: StudentFiles, cache: Path, *, export: bool = True) -> dict[RuntimeName, float]:
    """Texts per second on this CPU; nothing where that was measured on another one.

    Args:
        files: The student.
        cache: Folder in which exported students are kept.
        export: Whether a student that is not exported yet is exported now.

    Raises:
        RuntimeUnavailableError: As `load_int8` does; or it is not exported, and is not to be.
        StorageError: They cannot be written.
    """
    folder = _folder(files, cache)
    _usual(files)
    report = read_report(folder)
    if report is None and not export:
        raise RuntimeUnavailableError(not_exported(files, "the int8 kernels"))
    report = report or _exported(files, cache)[1]
    # Who hears that the kernels compute it looks no further.
    check_distance(files, "int8", _computed(files, report.max_cosine_distance), INT8_TOLERANCE)
    rate = _computed(files, report.texts_per_second)
    return {Int8Runtime.name: rate} if report.cpu == cpu_name() else {}


def instructions_if_rounded(files: StudentFiles) -> str | None:
    """The instructions that would compute a student here if its weights were rounded; None if that is not enough."""
    try:
        instructions = int8_instructions()
    except RuntimeUnavailableError:
        return None
    usual = UsualBert.of(files.layout)
    if usual is None or (usual.transformer / INT8_SCALES).is_file() or not int8_layout.has_its_sizes(usual.config):
        return None
    return instructions


def _folder(files: StudentFiles, cache: Path) -> Path:
    return cache / f"{files.digest}-int8-{int8_kernels_version()}"


def _usual(files: StudentFiles) -> UsualBert:
    """The student as one that was rounded; whether all its weights are on the grid is seen when they are packed."""
    usual = UsualBert.of(files.layout)
    if usual is None or not (usual.transformer / INT8_SCALES).is_file():
        raise RuntimeUnavailableError(not_rounded(files))
    if not int8_layout.has_its_sizes(usual.config):
        raise RuntimeUnavailableError(
            f"student {files.version} is of sizes that the int8 kernels do not compute (docs/runtimes.md)"
        )
    return usual


def _computed(files: StudentFiles, figures: Mapping[str, float]) -> float:
    """A report's figure for int8."""
    try:
        return figures["int8"]
    except KeyError:
        raise RuntimeUnavailableError(
            f"student {files.version} is not what the int8 kernels compute: its weights have left the grid that they "
            "were rounded to, or what stands behind them is unusual (docs/runtimes.md)"
        ) from None


def _exported(files: StudentFiles, cache: Path) -> tuple[Path, ExportReport]:
    folder = _folder(files, cache)
    return folder, kept_export(folder, partial(_export, files, _usual(files)))


def _export(files: StudentFiles, usual: UsualBert, draft: Path) -> ExportReport:
    # First, as it says what is wrong with a damaged student.
    reference = reference_runtime(files)
    runtimes: dict[Precision, Callable[[], Int8Runtime]] = {}
    try:
        int8_layout.save(draft / _FILE, int8_layout.pack(BertWeights(usual, int8=True)))
    except UnusualError:
        # That is kept, too: nobody has to find it out again.
        pass
    else:
        runtimes["int8"] = partial(Int8Runtime, draft / _FILE)
    return compared(
        draft,
        files,
        reference,
        runtimes,
        packages=("numpy",),
        allowed={"int8": INT8_TOLERANCE},
    )
