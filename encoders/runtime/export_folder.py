"""A student in the form that a runtime needs: made once per version and machine, with a report of exactness and speed.

    CACHE/ab12cd34ef56-openvino-2026.4.1/
        ...                      what the runtime reads
        report.json              what it was made from, its hashes, and its tolerance and speed per precision

It lies beside the models and not in a version's folder, which never changes once it is published. The folder's name has
the hash of the student's content, so that no student ever meets what was made of another.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from keydistill.encoders.runtime.cpu import Precision, cpu_name
from keydistill.encoders.runtime.numpy import NumpyRuntime
from keydistill.encoders.runtime.protocol import Runtime, RuntimeName
from keydistill.encoders.runtime.sample import SAMPLE, largest_distance, sample_vectors
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.encoders.student_files import StudentFiles
from keydistill.errors import InputError, RuntimeUnavailableError, StorageError, StudentError
from keydistill.files import FolderKind, file_lock, file_sha256, whole_folder

REPORT = "report.json"

_FORMAT = 2
_KIND = FolderKind("exported student", REPORT)
# Timed passes over the sample per precision; one more before them has made the sizes of its batches known.
_PASSES = 3
# Packages whose versions decide what the reference computes.
_REFERENCE_PACKAGES: Mapping[RuntimeName, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "torch": ("torch", "transformers", "sentence-transformers"),
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The report on an exported student: how it differs from the original.

    Attributes:
        format: Format of the folder; a folder of another format is made again.
        student: Hash of the student's content.
        versions: Versions of the packages that made it.
        cpu: The CPU that it was compared on.
        texts: Number of texts in the comparison.
        max_cosine_distance: Largest distance between its vectors and those of the reference in fp32, by precision; a
            precision is not there that the CPU lacks, or, in the case of int8, the student.
        allowed: Distance above which a precision is not used.
        sha256: Hashes of the folder's other files.
        texts_per_second: Texts per second, by precision, on that CPU, with a stream per core.
    """

    format: int
    student: str
    versions: Mapping[str, str]
    cpu: str
    texts: int
    max_cosine_distance: Mapping[str, float]
    allowed: Mapping[str, float]
    sha256: Mapping[str, str]
    texts_per_second: Mapping[str, float]


def kept_export(folder: Path, make: Callable[[Path], ExportReport]) -> ExportReport:
    """The report of an exported student; it is made first where it is not there, or is damaged.

    Processes that ask at once get one: one makes it, the others wait.

    Args:
        folder: Folder that the export belongs in.
        make: Function that writes the files into the folder that it gets, and returns the report.

    Raises:
        StorageError: It cannot be written.
        Exception: What `make` raises; nothing is kept then.
    """
    report = _intact_report(folder)
    if report is not None:
        return report
    try:
        with file_lock(folder.parent / f".{folder.name}.lock"):
            report = _intact_report(folder)
            if report is None:
                _log.info("exporting a student, once, into %s", folder)
                with whole_folder(folder, _KIND, force=True) as draft:
                    report = make(draft)
                    (draft / REPORT).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    except (InputError, StorageError, OSError) as error:
        raise StorageError(f"the exported student cannot be kept in {folder.parent}: {error}") from error
    return report


def read_report(folder: Path) -> ExportReport | None:
    """The report of an exported student; None where there is none that can be read, or one of another format."""
    try:
        report = ExportReport(**json.loads((folder / REPORT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return report if report.format == _FORMAT else None


def compared(
    draft: Path,
    files: StudentFiles,
    reference: Runtime,
    runtimes: Mapping[Precision, Callable[[], Runtime]],
    *,
    packages: tuple[str, ...],
    allowed: Mapping[Precision, float],
) -> ExportReport:
    """Compare what was written with the original, and time it.

    A precision that fails beside fp32 is not in the report: OpenVINO may say that a CPU computes in int8, and then find
    no product for it.

    Args:
        draft: Folder of the export, without its report.
        files: The student.
        reference: Runtime that gives the expected vectors (`reference_runtime`).
        runtimes: Functions that load it from the draft, by precision.
        packages: Packages that made it, beside those of the reference.
        allowed: Largest cosine distance that is allowed, by precision.
    """
    expected = sample_vectors(reference, files.tokens())
    distances: dict[str, float] = {}
    rates: dict[str, float] = {}
    for precision, load in runtimes.items():
        try:
            runtime = load()
            vectors = sample_vectors(runtime, files.tokens())
        except (RuntimeError, StudentError) as error:
            if precision == "fp32" or "fp32" not in runtimes:
                raise
            _log.info(
                "%s is not computed in %s here: %s", files.version, precision, str(error).strip().rpartition("\n")[2]
            )
            continue
        distances[precision] = largest_distance(expected, vectors)
        rates[precision] = _rate(runtime, files)
    return ExportReport(
        format=_FORMAT,
        student=files.digest,
        versions={name: version(name) for name in (*packages, *_REFERENCE_PACKAGES[reference.name])},
        cpu=cpu_name(),
        texts=len(SAMPLE),
        max_cosine_distance=distances,
        allowed={str(precision): limit for precision, limit in allowed.items()},
        sha256={file.name: file_sha256(file) for file in sorted(draft.iterdir())},
        texts_per_second=rates,
    )


def reference_runtime(files: StudentFiles) -> Runtime:
    """The runtime whose vectors an export is compared with: numpy for students of the usual kind, torch for others.

    Raises:
        StudentError: The student cannot be loaded.
        RuntimeUnavailableError: Only torch computes it, and is not installed.
    """
    try:
        return NumpyRuntime.load(files)
    except RuntimeUnavailableError:
        return TorchRuntime.load(files.folder, device="cpu")


def not_rounded(files: StudentFiles) -> str:
    """Why a student cannot be computed in int8."""
    return (
        f"the weights of student {files.version} were not rounded for int8; trainings do that, but for shape "
        "static and with --no-int8"
    )


def not_exported(files: StudentFiles, form: str) -> str:
    """Why a runtime that needs an export does not compute a student."""
    return f"student {files.version} is not exported for {form} yet, which would cost more here than it saves"


def check_distance(files: StudentFiles, precision: str, distance: float, allowed: float) -> None:
    """Whether a student may be used in a precision.

    Raises:
        RuntimeUnavailableError: It differs by more than is allowed from the original.
    """
    if not distance <= allowed:
        raise RuntimeUnavailableError(
            f"in {precision} student {files.version} differs by {distance:.1g} (cosine distance) from the "
            f"reference in fp32, at most {allowed} is allowed"
        )


def _intact_report(folder: Path) -> ExportReport | None:
    """The report of an export that is there as it was written."""
    if not (folder / REPORT).exists():
        return None
    report = read_report(folder)
    try:
        fits = report is not None and all(file_sha256(folder / name) == sha for name, sha in report.sha256.items())
    except (OSError, AttributeError):
        fits = False
    if not fits:
        _log.warning("the export in %s is damaged, or of an earlier version, and is made again", folder)
        return None
    return report


def _rate(runtime: Runtime, files: StudentFiles) -> float:
    """Texts per second, at best: whatever else the machine does only adds."""
    seconds = []
    for _ in range(_PASSES):
        began = time.perf_counter()
        sample_vectors(runtime, files.tokens())
        seconds.append(time.perf_counter() - began)
    return len(SAMPLE) / min(seconds)
