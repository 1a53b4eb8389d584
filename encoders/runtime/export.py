"""A student as an OpenVINO graph: made once per version and machine, with a report of how exact it is.

    CACHE/ab12cd34ef56-openvino-2026.4.1/
        model.xml, model.bin     the graph and its weights, fp32; bf16 is computed from them
        int8.xml, int8.bin       the same with linear layers in int8, of a student whose weights are on that grid
        report.json              what it was made from, its hashes, and its tolerance per precision

It lies beside the models and not in a version's folder, which never changes once it is published. The folder's name has
the hash of the student's content, so that no student ever meets another's graph.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.runtime.bert_graph import bert_graph
from encoders.runtime.cpu import Precision, capable_precisions, cpu_name
from encoders.runtime.openvino_runtime import OpenVinoRuntime
from encoders.runtime.protocol import INT8_TOLERANCE, TOLERANCE
from encoders.runtime.sample import SAMPLE, largest_distance, sample_vectors
from encoders.runtime.torch_runtime import TorchRuntime
from encoders.runtime.usual_bert import UsualBert
from encoders.student_files import StudentFiles
from errors import InputError, RuntimeUnavailableError, StorageError
from files import FolderKind, complete_folder, file_lock, file_sha256

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from encoders.runtime.saved_bert import SavedBert

GRAPHS: Mapping[Precision, str] = {"fp32": "model.xml", "bf16": "model.xml", "int8": "int8.xml"}
REPORT = "report.json"

_FORMAT = 2
# Over the sample, of each precision; one more has made the shapes known before.
_PASSES = 3
_KIND = FolderKind("exported student", REPORT)
# In this order where nobody knows how fast they are: int8 can be slower than all others.
_UNMEASURED: tuple[Precision, ...] = ("bf16", "fp32", "int8")
# Most cosine distance that is allowed.
_ALLOWED: Mapping[Precision, float] = {"fp32": TOLERANCE, "bf16": TOLERANCE, "int8": INT8_TOLERANCE}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How an exported student differs from the original.

    Attributes:
        format: Of the folder; another one is made again.
        student: Hash of the student's content.
        versions: Of the packages that made it.
        cpu: The CPU that it was compared on.
        texts: Number of texts in the comparison.
        max_cosine_distance: Between OpenVINO's vectors and those of torch in fp32, by precision; the CPU lacks what is
            not there, or, of int8, the student.
        allowed: Above this, the precision is not used.
        sha256: Of the graph's files.
        texts_per_second: By precision, on that CPU, with a stream per core.
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


def load_exported(
    files: StudentFiles, precision: Precision, *, cache: Path, threads: int | None = None
) -> OpenVinoRuntime:
    """Load a student's graph; it is exported first where that has not been done.

    Args:
        files: The student.
        precision: What arithmetic is done in.
        cache: Where graphs are kept.
        threads: Threads for arithmetic; None takes one per core.

    Raises:
        RuntimeUnavailableError: OpenVINO is not installed, the CPU lacks the precision, or the student cannot be
            exported, has no weights for int8, or differs by more than is allowed from the original.
        StorageError: The graph cannot be written.
    """
    _check_installed()
    if precision not in capable_precisions():
        raise RuntimeUnavailableError(f"the CPU ({cpu_name()}) does not compute in {precision}")
    folder, report = exported(files, cache)
    distance = report.max_cosine_distance.get(precision)
    if distance is None and precision == "int8" and report.cpu == cpu_name():
        raise RuntimeUnavailableError(
            f"the weights of student {files.version} were not rounded for int8; trainings do that, but for shape "
            "static and with --no-int8"
        )
    if distance is None:
        raise RuntimeUnavailableError(
            f"{folder} was made on a CPU ({report.cpu}) that does not compute in {precision}, so that nobody knows "
            "how exact it is; remove the folder, and it is made here"
        )
    if not distance <= _ALLOWED[precision]:
        raise RuntimeUnavailableError(
            f"in {precision} student {files.version} differs by {distance:.1g} (cosine distance) from torch, at "
            f"most {_ALLOWED[precision]} is allowed"
        )
    return OpenVinoRuntime(folder / GRAPHS[precision], precision, threads=threads)


def fastest_first(files: StudentFiles, cache: Path) -> list[Precision]:
    """The precisions that this CPU has, in the order of their speed here; the student is exported first where needed.

    The CPU's flags do not tell which one is faster: bfloat16 has twice the rate of fp32 on a Zen 4, and half of it on a
    Xeon whose AMX the hypervisor hides. Where that was measured on another CPU, what most are faster in comes first.

    Args:
        files: The student.
        cache: Where graphs are kept.

    Raises:
        RuntimeUnavailableError: OpenVINO is not installed, or the student is of a kind that cannot be exported.
        StorageError: The graph cannot be written.
    """
    _check_installed()
    # Whether the graph is whole is seen when it is loaded.
    report = _report(_folder(files, cache)) or exported(files, cache)[1]
    if report.cpu != cpu_name():
        return [precision for precision in _UNMEASURED if precision in capable_precisions()]
    return sorted(capable_precisions(), key=lambda precision: -report.texts_per_second.get(precision, 0.0))


def _check_installed() -> None:
    if find_spec("openvino") is None:
        raise RuntimeUnavailableError("OpenVINO is not installed; pip install 'keydistill[openvino]'")


def exported(files: StudentFiles, cache: Path) -> tuple[Path, ExportReport]:
    """The folder of the student's graph, and its report; it is made first where it is not there, or is damaged.

    Processes that ask at once get one graph: one makes it, the others wait.

    Args:
        files: The student.
        cache: Where graphs are kept.

    Raises:
        RuntimeUnavailableError: The student is of a kind that cannot be exported.
        StorageError: The graph cannot be written.
    """
    folder = _folder(files, cache)
    report = _whole(folder)
    if report is not None:
        return folder, report
    try:
        with file_lock(cache / f".{folder.name}.lock"):
            report = _whole(folder)
            if report is None:
                _log.info("exporting student %s for OpenVINO, once, into %s", files.version, folder)
                with complete_folder(folder, _KIND, force=True) as draft:
                    report = _export(files, draft)
    except (InputError, OSError) as error:
        raise StorageError(f"the student's OpenVINO graph cannot be kept in {cache}: {error}") from error
    return folder, report


def _folder(files: StudentFiles, cache: Path) -> Path:
    return cache / f"{files.digest}-openvino-{version('openvino')}"


def _report(folder: Path) -> ExportReport | None:
    """What the report says, None where there is none that can be read."""
    try:
        return ExportReport(**json.loads((folder / REPORT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _whole(folder: Path) -> ExportReport | None:
    """The report of a graph that is there as it was written."""
    if not (folder / REPORT).exists():
        return None
    report = _report(folder)
    try:
        fits = (
            report is not None
            and report.format == _FORMAT
            and all(file_sha256(folder / name) == sha for name, sha in report.sha256.items())
        )
    except (OSError, AttributeError):
        fits = False
    if not fits:
        _log.warning("the graph in %s is damaged, or of an earlier version, and is made again", folder)
        return None
    return report


def _export(files: StudentFiles, draft: Path) -> ExportReport:
    import openvino as ov

    reference = TorchRuntime.load(files.folder, device="cpu")
    graphs = _graphs(reference.model, files)
    for name, graph in graphs.items():
        ov.save_model(graph, draft / name, compress_to_fp16=False)
    # Their weights are in memory twice otherwise.
    names = list(graphs)
    del graphs
    expected = sample_vectors(reference, files.tokens())
    distances: dict[str, float] = {}
    rates: dict[str, float] = {}
    for precision in capable_precisions():
        if GRAPHS[precision] not in names:
            continue
        runtime = OpenVinoRuntime(draft / GRAPHS[precision], precision)
        distances[precision] = largest_distance(expected, sample_vectors(runtime, files.tokens()))
        rates[precision] = _rate(runtime, files)
    report = ExportReport(
        format=_FORMAT,
        student=files.digest,
        versions={name: version(name) for name in ("openvino", "torch", "transformers", "sentence-transformers")},
        cpu=cpu_name(),
        texts=len(SAMPLE),
        max_cosine_distance=distances,
        allowed={str(precision): allowed for precision, allowed in _ALLOWED.items()},
        sha256={file.name: file_sha256(file) for file in sorted(draft.iterdir())},
        texts_per_second=rates,
    )
    (draft / REPORT).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return report


def _graphs(model: SentenceTransformer | SavedBert, files: StudentFiles) -> dict[str, Any]:
    """The student's graphs by the names of their files: in fp32, and in int8 where its weights allow that."""
    usual = UsualBert.of(files.layout)
    graphs = {
        GRAPHS["fp32"]: (None if usual is None else bert_graph(usual)) or _converted(model, files),
        GRAPHS["int8"]: None if usual is None else bert_graph(usual, int8=True),
    }
    return {name: graph for name, graph in graphs.items() if graph is not None}


def _converted(model: SentenceTransformer | SavedBert, files: StudentFiles) -> Any:
    """A student of any kind from tokens (n, length) to vectors (n, full dimension), as torch sees it computed."""
    import openvino as ov
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            # Batches hold texts of one length: nothing is masked.
            features = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
            vectors: torch.Tensor = self.student(features)["sentence_embedding"]
            return vectors

    # Sizes of 0 and 1 would be taken as constants.
    example = torch.full((3, 7), 5, dtype=torch.long)
    anything = torch.export.Dim.DYNAMIC
    try:
        with warnings.catch_warnings():
            # torch warns about its own use of what it has deprecated.
            warnings.simplefilter("ignore")
            program = torch.export.export(
                Whole().eval(), (example,), dynamic_shapes={"input_ids": {0: anything, 1: anything}}
            )
            return ov.convert_model(program)
    except Exception as error:  # whatever the two raise for a module that they do not know
        reason = str(error).strip().partition("\n")[0]
        raise RuntimeUnavailableError(f"student {files.version} cannot be exported for OpenVINO: {reason}") from error


def _rate(runtime: OpenVinoRuntime, files: StudentFiles) -> float:
    """Texts per second, at best: whatever else the machine does only adds."""
    seconds = []
    for _ in range(_PASSES):
        began = time.perf_counter()
        sample_vectors(runtime, files.tokens())
        seconds.append(time.perf_counter() - began)
    return len(SAMPLE) / min(seconds)
