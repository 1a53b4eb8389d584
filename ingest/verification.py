"""Is the built collection what its snapshot says? Asked before an alias may name it."""

from typing import Any

import numpy as np
import pyarrow as pa

from encoders import Student
from errors import VerificationError
from ingest.points import payloads
from ingest.snapshot import Snapshot
from runs import ReindexRun
from vectorstore import Engine, Record

_ROWS_PER_PART = 4
_EMBEDDED_AGAIN = 64
# Cosine distance between a stored vector and the same text embedded again: batches of other shapes round otherwise.
_TOLERANCE = 1e-4


def verify(run: ReindexRun, snapshot: Snapshot, engine: Engine, student: Student) -> dict[str, Any]:
    """Compare the run's collection with its snapshot.

    The exact count, the payload indexes and metadata, and of every part some rows read back: ids, payloads, and for
    a sample of them the vectors, embedded again.

    Returns:
        What was checked, for the run's report.

    Raises:
        VerificationError: The first difference found.
    """
    info = engine.info(run.collection)
    _expect("points", info.points, snapshot.summary.rows, run)
    _expect("dimension", info.dimension, run.dimension, run)
    _expect("student version", info.metadata.get("student_version"), run.student_version, run)
    missing = sorted(set(info.metadata.get("payload_indexes", [])) - set(info.payload_indexes))
    if missing:
        raise VerificationError(f"collection {run.collection} lacks payload indexes {missing}; {_WHAT_TO_DO}")
    chance = np.random.default_rng(0)
    checked: list[tuple[str, Record]] = []
    for part in snapshot.parts:
        rows = snapshot.read(part.number)
        sample = np.sort(chance.choice(len(rows), size=min(_ROWS_PER_PART, len(rows)), replace=False))
        checked += _read_back(run, engine, rows.take(pa.array(sample)), part.number)
    again = [checked[index] for index in chance.permutation(len(checked))[:_EMBEDDED_AGAIN]]
    distance = _largest_distance(student, again)
    if distance > _TOLERANCE:
        raise VerificationError(
            f"collection {run.collection}: a stored vector is {distance:.2g} (cosine distance) away from its text "
            f"embedded again, at most {_TOLERANCE} is allowed; {_WHAT_TO_DO}"
        )
    return {
        "points": info.points,
        "parts": len(snapshot.parts),
        "rows_read_back": len(checked),
        "rows_embedded_again": len(again),
        "largest_cosine_distance": distance,
        "payload_indexes": sorted(info.payload_indexes),
        "disk_bytes": info.disk_bytes,
    }


_WHAT_TO_DO = "the alias was not touched; start the reindex again"


def _expect(what: str, found: object, expected: object, run: ReindexRun) -> None:
    if found != expected:
        raise VerificationError(
            f"collection {run.collection} has {what} {found}, its snapshot says {expected}; {_WHAT_TO_DO}"
        )


def _read_back(run: ReindexRun, engine: Engine, rows: pa.Table, part: int) -> list[tuple[str, Record]]:
    ids: list[str] = rows.column("point_id").to_pylist()
    stored = {record.id: record for record in engine.retrieve(run.collection, ids, with_vectors=True)}
    for id, payload in zip(ids, payloads(rows), strict=True):
        if id not in stored:
            raise VerificationError(
                f"collection {run.collection} lacks {payload['keyphrase']!r} of part {part}; {_WHAT_TO_DO}"
            )
        if stored[id].payload != payload:
            raise VerificationError(
                f"collection {run.collection}: the payload of {payload['keyphrase']!r} of part {part} differs; "
                f"{_WHAT_TO_DO}"
            )
    return [(text, stored[id]) for id, text in zip(ids, rows.column("keyphrase").to_pylist(), strict=True)]


def _largest_distance(student: Student, sample: list[tuple[str, Record]]) -> float:
    if not sample:
        return 0.0
    expected = student.embed_keyphrases([text for text, _ in sample])
    stored = np.stack([record.vector for _, record in sample if record.vector is not None])
    return float((1.0 - (expected * stored).sum(axis=1)).max())
