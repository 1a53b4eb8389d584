"""Collections that are built to be measured, by the functions that builds use."""

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keydistill.capacity.figures import Sync, Trial
from keydistill.capacity.parts import disk_of, optimisers_of, own_memory
from keydistill.errors import VectorStoreError
from keydistill.ingest.collection import collection_spec, payloads
from keydistill.ingest.snapshot import Snapshot
from keydistill.settings import Settings
from keydistill.vectorstore import PointBatch, Vectors, open_engine

_QUERIES = 1_000
_WORDS = 8_192
_LOOK_SECONDS = 0.02


def run_trial(settings: Settings, name: str, snapshot: Snapshot, points: int, dimension: int) -> tuple[Trial, int]:
    """Build a collection of `points` rows of a snapshot, read it in another process, and measure both.

    Returns:
        The trial, and the reader's memory before it opened anything.
    """
    folder = settings.home / "collections" / name
    spec = collection_spec(dimension, settings)
    engine = open_engine(settings)
    try:
        with _watched(folder) as peaks:
            engine.create(name, spec, {})
            write_seconds = 0.0
            for batch in batches(snapshot, points, dimension, settings.upsert_batch):
                began = time.perf_counter()
                engine.upsert(name, batch)
                write_seconds += time.perf_counter() - began
            began = time.perf_counter()
            engine.finish(name)
            optimise_seconds = time.perf_counter() - began
    finally:
        engine.close()
    reader = _reader(settings.home, name)
    return Trial(
        points=points,
        dimension=dimension,
        write_seconds=write_seconds,
        optimise_seconds=optimise_seconds,
        disk=dict(disk_of(folder)),
        peak_disk_bytes=max(peaks["disk"], disk_of(folder).total()),
        optimiser_bytes=peaks["optimiser"],
        reader=reader["resident"],
        query_p50_ms=reader["p50_ms"],
        query_p99_ms=reader["p99_ms"],
    ), int(reader["base"])


def run_sync(settings: Settings, name: str, snapshot: Snapshot, trial: Trial) -> Sync:
    """Change one point in a hundred of a trial's collection, as a sync does, in a copy."""
    changed = max(1, trial.points // 100)
    engine = open_engine(settings)
    try:
        began = time.perf_counter()
        engine.copy(name, f"{name}-changed", {})
        copied = time.perf_counter()
        for batch in batches(snapshot, changed, trial.dimension, settings.upsert_batch, shift=1):
            engine.upsert(f"{name}-changed", batch)
        engine.finish(f"{name}-changed")
        return Sync(trial.points, changed, copied - began, time.perf_counter() - copied)
    finally:
        engine.close()


def batches(
    snapshot: Snapshot, points: int, dimension: int, batch_rows: int, *, shift: int = 0
) -> Iterator[PointBatch]:
    """An even choice of a snapshot's rows as points, whose vectors are those of their words; another `shift`, others.

    Parts of a snapshot are sorted by length: its first rows alone would have less payload, and words in common.
    """
    chosen = np.linspace(0, snapshot.summary.rows - 1, points).astype(np.int64)
    before = 0
    for _, table in snapshot.tables():
        places = chosen[np.searchsorted(chosen, before) : np.searchsorted(chosen, before + len(table))] - before
        before += len(table)
        rows = table.take(pa.array(places))
        ids, texts, fields = rows.column("point_id").to_pylist(), rows.column("keyphrase").to_pylist(), payloads(rows)
        vectors = word_vectors(texts, dimension, shift)
        for start in range(0, len(ids), batch_rows):
            some = slice(start, start + batch_rows)
            yield PointBatch(ids[some], vectors[some], fields[some])


def word_vectors(texts: Sequence[str], dimension: int, shift: int = 0) -> Vectors:
    """A vector per text, the mean of those of its words, shape (texts, dimension), normalised.

    The words' vectors are random ones. Texts with words in common are alike, as a student's are: an index of
    independent random vectors takes longer to build than one of real texts.
    """
    table = np.random.default_rng(shift).standard_normal((_WORDS, dimension), dtype=np.float32)
    words = [[zlib.crc32(word.encode()) % _WORDS for word in text.split()] for text in texts]
    vectors = np.array([table[some].sum(0) for some in words], dtype=np.float32).reshape(len(texts), dimension)
    normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


@contextmanager
def _watched(folder: Path) -> Iterator[dict[str, int]]:
    """Peaks of a collection's size on the disk and of the optimiser's memory while the block lasts."""
    peaks = {"disk": 0, "optimiser": 0}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            peaks["disk"] = max(peaks["disk"], disk_of(folder).total())
            for child in optimisers_of(os.getpid()):
                peaks["optimiser"] = max(peaks["optimiser"], own_memory(child))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def _reader(home: Path, name: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "keydistill.capacity.reader", str(home), name, str(_QUERIES)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise VectorStoreError(f"reading the trial {name} failed: {last}; check free memory and disk space")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
