"""Measuring what plans need, on this machine and in less than two minutes."""

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keydistill.capacity.figures import Embedding, Figures
from keydistill.capacity.trial import run_sync, run_trial
from keydistill.encoders import Student, StudentFiles, student_of
from keydistill.errors import InputError
from keydistill.ingest.snapshot import Snapshot, SnapshotSettings, build_snapshot
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.settings import Settings
from keydistill.simulation import MarketplaceSettings, simulate

_PACKAGES = ("keydistill", "qdrant-edge-py", "qdrant-client", "numpy", "pyarrow", "torch", "openvino")
# Smaller segments get no index: the engine searches them whole (`indexing_threshold`, 10,000 kB of vectors).
_INDEXED_BYTES = 12_000_000
_SMALL, _FACTOR = 20_000, 3
_TENTHS = 10
_LEAST_ROWS = 100
# Of what a server alone can do, and of where parts are kept, plans think by themselves.
_ALONE: dict[str, Any] = {
    "engine": "embedded",
    "placement": {},
    "shards": None,
    "replicas": None,
    "write_consistency": None,
    "strict_mode": {},
}
# A build of this size is what "auto" chooses the runtime for.
_PLANNED_TEXTS = 1_000_000


def measure(
    settings: Settings, inventory: Sequence[Path] = (), *, points: int | None = None, progress: Progress = NO_PROGRESS
) -> Figures:
    """Measure the student's rates, and two trial collections of the embedded engine with the settings' storage.

    Args:
        settings: Settings in force; everything is done in a folder of `home` that is removed at the end.
        inventory: Files of real keyphrases; none: simulated ones.
        points: Points of the larger trial; None: as few as make an index.
        progress: Told of the steps.

    Raises:
        StudentError: The student cannot be loaded.
        InputError: An inventory file cannot be read.
    """
    files = StudentFiles.find(settings.student, dimension=settings.dimension)
    work = settings.home / "tmp"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=work) as scratch:
        folder = Path(scratch)
        progress.start("rate", None, "")
        dimension = settings.dimension or files.dimension
        least = max(_SMALL, _INDEXED_BYTES // (4 * dimension))
        larger = points or least * _FACTOR
        source = tuple(inventory) or (_simulated(folder, larger),)
        began = time.perf_counter()
        snapshot = build_snapshot(source, folder / "snapshot", SnapshotSettings.of(settings), files.count_tokens)
        rows = snapshot.summary.rows
        snapshot_rate = rows / (time.perf_counter() - began)
        if rows < _LEAST_ROWS:
            raise InputError(
                f"the inventory has {rows:,} keyphrases, and two trials need {_LEAST_ROWS:,}; give more, or leave "
                "--inventory out"
            )
        progress.start("embed", None, "")
        embedding = _embedding(settings, snapshot)
        trial_settings = settings.model_copy(update={"home": folder / "home", **_ALONE})
        trials, base = [], 0
        larger = min(larger, rows)
        for number, size in enumerate((max(1, larger // _FACTOR), larger)):
            progress.start(f"build {size:,} points", None, "")
            trial, base = run_trial(trial_settings, f"trial-{number}", snapshot, size, dimension)
            trials.append(trial)
        progress.start("sync", None, "")
        sync = run_sync(trial_settings, "trial-1", snapshot, trials[-1])
    return Figures(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        quantization=settings.quantization,
        hnsw_m=settings.hnsw_m,
        snapshot_rows_per_second=snapshot_rate,
        reader_base_bytes=base,
        embedding=embedding,
        trials=tuple(trials),
        sync=sync,
    )


def machine() -> dict[str, Any]:
    """What figures depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _simulated(folder: Path, keyphrases: int) -> Path:
    simulate(folder / "market", MarketplaceSettings(items=200, keyphrases=keyphrases, seed=0))
    return folder / "market" / "inventory.parquet"


def _embedding(settings: Settings, snapshot: Snapshot, texts: int = 2_000) -> Embedding:
    """Rates of the student on an even choice of keyphrases, in the order of their length as in a snapshot."""
    column = pa.concat_tables(rows for _, rows in snapshot.tables()).column("keyphrase")
    chosen = np.linspace(0, len(column) - 1, min(texts, len(column))).astype(int)
    tenths = [column.take(pa.array(some)).to_pylist() for some in np.array_split(chosen, _TENTHS) if len(some)]
    student = student_of(settings, texts=_PLANNED_TEXTS)
    student.embed_keyphrases(tenths[0][:32])  # the first call allocates
    seconds = [_seconds(student, some) for some in tenths]
    single = student_of(settings.model_copy(update={"threads": 1}), texts=_PLANNED_TEXTS)
    sample = [text for some in tenths for text in some[::4]]
    single.embed_keyphrases(sample[:32])
    return Embedding(
        student=student.version,
        runtime=f"{student.runtime}: {student.runtime_reason}",
        threads=settings.threads or os.cpu_count() or 1,
        keyphrases_per_second=len(chosen) / sum(seconds),
        one_thread_per_second=len(sample) / _seconds(single, sample),
        seconds_per_thousand=tuple(1_000 * took / len(some) for took, some in zip(seconds, tenths, strict=True)),
    )


def _seconds(student: Student, texts: Sequence[str]) -> float:
    began = time.perf_counter()
    student.embed_keyphrases(texts)
    return time.perf_counter() - began
