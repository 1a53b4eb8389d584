"""A student as an OpenVINO graph.

model.xml, model.bin     the graph and its weights, fp32; bf16 is computed from them
int8.xml, int8.bin       the same with linear layers in int8, of a student whose weights are on that grid

Where they lie, and what is reported of them: `keydistill.encoders.runtime.export_folder`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from keydistill.encoders.runtime.bert import UsualBert
from keydistill.encoders.runtime.cpu import Precision, capable_precisions, cpu_name
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
from keydistill.encoders.runtime.openvino.graph import bert_graph
from keydistill.encoders.runtime.openvino.runtime import NAMES, OpenVinoRuntime
from keydistill.encoders.runtime.protocol import INT8_TOLERANCE, TOLERANCE, RuntimeName
from keydistill.encoders.runtime.torch import TorchRuntime
from keydistill.encoders.student_files import StudentFiles
from keydistill.errors import RuntimeUnavailableError

GRAPHS: Mapping[Precision, str] = {"fp32": "model.xml", "bf16": "model.xml", "int8": "int8.xml"}

# Largest cosine distance that is allowed.
_ALLOWED: Mapping[Precision, float] = {"fp32": TOLERANCE, "bf16": TOLERANCE, "int8": INT8_TOLERANCE}


def load_exported(
    files: StudentFiles, precision: Precision, *, cache: Path, threads: int | None = None
) -> OpenVinoRuntime:
    """Load a student's graph; it is exported first where that has not been done.

    Args:
        files: The student.
        precision: Precision of the arithmetic.
        cache: Folder in which graphs are kept.
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
    if distance is None and report.cpu == cpu_name() and (folder / GRAPHS[precision]).exists():
        raise RuntimeUnavailableError(
            f"OpenVINO does not compute the student in {precision} on this CPU ({cpu_name()})"
        )
    if distance is None and precision == "int8" and report.cpu == cpu_name():
        raise RuntimeUnavailableError(not_rounded(files))
    if distance is None:
        raise RuntimeUnavailableError(
            f"{folder} was made on a CPU ({report.cpu}) that does not compute in {precision}, so that nobody knows "
            "how exact it is; remove the folder, and it is made here"
        )
    check_distance(files, precision, distance, _ALLOWED[precision])
    return OpenVinoRuntime(folder / GRAPHS[precision], precision, threads=threads)


def openvino_rates(files: StudentFiles, cache: Path, *, export: bool = True) -> dict[RuntimeName, float]:
    """Texts per second of each precision on this CPU; nothing where that was measured on another one.

    The CPU's flags do not tell which one is faster: bfloat16 has twice the rate of fp32 on a Zen 4, and half of it on a
    Xeon whose AMX the hypervisor hides.

    Args:
        files: The student.
        cache: Folder in which graphs are kept.
        export: Whether a student that is not exported yet is exported now.

    Raises:
        RuntimeUnavailableError: OpenVINO is not installed, or the student is of a kind that cannot be exported; or it
            is not exported, and is not to be.
        StorageError: The graph cannot be written.
    """
    _check_installed()
    # Whether the graph is whole is seen when it is loaded.
    report = read_report(_folder(files, cache))
    if report is None and not export:
        raise RuntimeUnavailableError(not_exported(files, "OpenVINO"))
    report = report or exported(files, cache)[1]
    if report.cpu != cpu_name():
        return {}
    rates = report.texts_per_second
    return {NAMES[precision]: rates[precision] for precision in capable_precisions() if precision in rates}


def exported(files: StudentFiles, cache: Path) -> tuple[Path, ExportReport]:
    """The folder of the student's graph, and its report; it is made first where it is not there, or is damaged.

    Args:
        files: The student.
        cache: Folder in which graphs are kept.

    Raises:
        RuntimeUnavailableError: The student is of a kind that cannot be exported.
        StorageError: The graph cannot be written.
    """
    folder = _folder(files, cache)
    return folder, kept_export(folder, partial(_export, files))


def _check_installed() -> None:
    if find_spec("openvino") is None:
        raise RuntimeUnavailableError("OpenVINO is not installed; pip install 'keydistill[openvino]'")


def _folder(files: StudentFiles, cache: Path) -> Path:
    return cache / f"{files.digest}-openvino-{version('openvino')}"


def _export(files: StudentFiles, draft: Path) -> ExportReport:
    import openvino as ov

    reference = reference_runtime(files)
    graphs = _graphs(files)
    for name, graph in graphs.items():
        ov.save_model(graph, draft / name, compress_to_fp16=False)
    precisions = [precision for precision in capable_precisions() if GRAPHS[precision] in graphs]
    # Their weights are in memory twice otherwise.
    del graphs, graph
    return compared(
        draft,
        files,
        reference,
        {precision: partial(OpenVinoRuntime, draft / GRAPHS[precision], precision) for precision in precisions},
        packages=("openvino",),
        allowed=_ALLOWED,
    )


def _graphs(files: StudentFiles) -> dict[str, Any]:
    """The student's graphs by the names of their files: in fp32, and in int8 where its weights allow that."""
    usual = UsualBert.of(files.layout)
    graphs = {
        GRAPHS["fp32"]: (None if usual is None else bert_graph(usual)) or _converted(files),
        GRAPHS["int8"]: None if usual is None else bert_graph(usual, int8=True),
    }
    return {name: graph for name, graph in graphs.items() if graph is not None}


def _converted(files: StudentFiles) -> Any:
    """A student of any kind from tokens (n, length) to vectors (n, full dimension), as torch sees it computed."""
    model = TorchRuntime.load(files.folder, device="cpu").model

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
