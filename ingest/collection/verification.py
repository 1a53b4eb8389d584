"""The check that a built collection is what its snapshot says, before an alias may name it.

Points are counted, by every filter too: a row too few or too many is caught for certain. Rows are looked up, which
takes a few seconds per 100,000: all of a small inventory, and a random sample of `verify_rows` of a large one. What is
wrong in a share f of all rows, as a batch that went wrong, is missed by n of them with the probability (1 - f)^n: one
row in 10,000 with 100,000 rows in 5 of 100,000 builds. Embedding again is done on fewer.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from keydistill.encoders import Student
from keydistill.encoders.runtime import INT8_TOLERANCE
from keydistill.errors import CollectionLostError, CollectionNotFoundError, VerificationError
from keydistill.ingest.collection.filter_counts import SAMPLE_ROWS, NamedFilter, filters_to_count, passing
from keydistill.ingest.collection.points import payloads
from keydistill.ingest.snapshot import Snapshot, profile
from keydistill.runs import ReindexRun
from keydistill.tables import shown
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, Engine, Payload, Record, payload_indexes

# Most ids in one request, however large a part is.
_WINDOW = 5_000
# Largest cosine distance between a stored vector and the same text embedded again, perhaps by another runtime: a few
# texts of a large inventory are some times further off than the sample that runtimes are compared on. Other texts are
# hundreds of times further off.
_TOLERANCE = 5 * INT8_TOLERANCE
# Engines keep payloads as JSON and read floats back up to two units in the last place off
# (https://github.com/serde-rs/json/issues/707).
_FLOAT_TOLERANCE = 1e-15
_WHAT_TO_DO = "the alias was not touched; start the reindex again"


def verify(run: ReindexRun, snapshot: Snapshot, engine: Engine, student: Student) -> dict[str, Any]:
    """Compare the run's collection with its snapshot.

    Compared are state, metadata, payload indexes and the exact count; rows of every part, by their ids, with their
    payloads; exact counts of filters of every shape that serving uses; and the vectors of a sample of rows, embedded
    again. Of a copy of the collection that an alias names, whose rows were looked up when it was built, each filter is
    counted in both, in place of the rows.

    Returns:
        Counts of what was checked, for the run's report.

    Raises:
        VerificationError: The collection differs; the message names the first difference.
    """
    info = engine.info(run.collection)
    # An engine calls a collection ready once its optimisers had nothing left to do.
    _expect(run, "state", info.state, "ready")
    _expect(run, "dimension", info.dimension, run.dimension)
    _check_metadata(run, info, snapshot)
    indexes = payload_indexes(run.settings.get("payload_indexes", {}))
    _check_indexes(run, info, indexes)
    _expect(run, "points", info.points, snapshot.summary.rows)

    snapshot_profile = profile(snapshot, SAMPLE_ROWS)
    named = filters_to_count(snapshot_profile, indexes, _first_payloads(snapshot))
    expected = _counts_of_original(run, engine, named)
    is_copy = expected is not None
    looked_up = 0
    if expected is None:
        expected = np.zeros(len(named), dtype=np.int64)
        chosen = _rows_to_look_up(run, snapshot.summary.rows)
        before = 0
        for part, rows in snapshot.tables():
            places = chosen[np.searchsorted(chosen, before) : np.searchsorted(chosen, before + len(rows))] - before
            _check_rows(run, engine, rows.take(places), part.number)
            expected += passing(rows, partial(payloads, rows), named)
            before += len(rows)
            looked_up += len(places)
    for each, count in zip(named, expected.tolist(), strict=True):
        counted = engine.count(run.collection, each.filter)
        if counted != count:
            raise VerificationError(
                f"collection {run.collection}: filter counts differ: {counted} points pass the {each.shape} filter "
                f"{_shown(each.filter.must)}, {run.report['copy_of'] if is_copy else 'its snapshot'} says {count}; "
                f"{_WHAT_TO_DO}"
            )
    sample = [(row["point_id"], row["keyphrase"]) for row in snapshot_profile.sample]
    distance = _largest_distance(run, engine, student, sample)
    if distance > _TOLERANCE:
        raise VerificationError(
            f"collection {run.collection}: a stored vector is {distance:.2g} (cosine distance) away from its text "
            f"embedded again, at most {_TOLERANCE:.2g} is allowed; {_WHAT_TO_DO}"
        )
    return {
        "points": info.points,
        "parts": len(snapshot.parts),
        "rows_read_back": looked_up,
        "filters_counted": len(named),
        "rows_embedded_again": len(sample),
        "largest_cosine_distance": distance,
        "payload_indexes": sorted(info.payload_indexes),
        "disk_bytes": info.disk_bytes,
    }


def _rows_to_look_up(run: ReindexRun, rows: int) -> NDArray[np.int64]:
    """Numbers of the rows to look up, ascending: all, or as many as `verify_rows` says, by chance."""
    most = int(run.settings.get("verify_rows") or rows)
    if rows <= most:
        return np.arange(rows)
    # Of the run's own: what one run misses, the next one finds.
    chance = np.random.default_rng(zlib.crc32(run.id.encode()))
    return np.sort(chance.choice(rows, size=most, replace=False))


def _counts_of_original(run: ReindexRun, engine: Engine, named: Sequence[NamedFilter]) -> NDArray[np.int64] | None:
    """The number of points that pass each filter in the collection that this one is a copy of; None if it is none.

    The original was verified when it was built, and its folder has not changed since, nor has the snapshot.
    """
    original = run.report.get("copy_of")
    if original is None:
        return None
    try:
        return np.array([engine.count(original, each.filter) for each in named], dtype=np.int64)
    except (CollectionNotFoundError, CollectionLostError):
        return None  # dropped meanwhile: the rows are looked up


def _expect(run: ReindexRun, name: str, value: object, expected: object) -> None:
    if value != expected:
        raise VerificationError(
            f"collection {run.collection} has {name} {value}, its snapshot says {expected}; {_WHAT_TO_DO}"
        )


def _check_metadata(run: ReindexRun, info: CollectionInfo, snapshot: Snapshot) -> None:
    metadata = CollectionMetadata.parse(info)
    if metadata.lacking:
        raise VerificationError(f"collection {run.collection} lacks the metadata {metadata.lacking}; {_WHAT_TO_DO}")
    _expect(run, "run", metadata.run, run.id)
    _expect(run, "student version", metadata.student_version, run.student_version)
    _expect(run, "snapshot", metadata.snapshot, snapshot.summary.digest)


def _check_indexes(run: ReindexRun, info: CollectionInfo, indexes: Mapping[str, str]) -> None:
    missing = sorted(set(indexes) - set(info.payload_indexes))
    if missing:
        raise VerificationError(f"collection {run.collection} lacks payload indexes {missing}; {_WHAT_TO_DO}")
    for field, kind in indexes.items():
        _expect(run, f"payload index {field} of type", info.payload_indexes[field], kind)


def _check_rows(run: ReindexRun, engine: Engine, rows: pa.Table, part: int) -> None:
    fields = payloads(rows)
    ids: list[str] = rows.column("point_id").to_pylist()
    for start in range(0, len(ids), _WINDOW):
        window = slice(start, start + _WINDOW)
        stored = {record.id: record.payload for record in engine.retrieve(run.collection, ids[window])}
        missing = [
            payload["keyphrase"] for id, payload in zip(ids[window], fields[window], strict=True) if id not in stored
        ]
        if missing:
            raise VerificationError(
                f"collection {run.collection} lacks {len(missing)} rows of part {part}, {missing[0]!r} among them; "
                f"{_WHAT_TO_DO}"
            )
        for id, payload in zip(ids[window], fields[window], strict=True):
            field = differing_field(stored[id], payload)
            if field is not None:
                raise VerificationError(
                    f"collection {run.collection}: the payload of {payload['keyphrase']!r} of part {part} differs in "
                    f"{field!r}: {shown(stored[id].get(field))} is stored, its snapshot says "
                    f"{shown(payload.get(field))}; {_WHAT_TO_DO}"
                )


def differing_field(stored: Payload, expected: Payload) -> str | None:
    """The first field whose value is another one in the engine than in the snapshot; None where they agree."""
    if stored == expected:
        return None
    names = sorted(stored.keys() | expected.keys())
    return next((name for name in names if not _is_same(stored.get(name), expected.get(name))), None)


def _is_same(stored: object, expected: object) -> bool:
    """Whether two values are equal, floats but for what an engine's JSON takes from them."""
    if isinstance(stored, list) and isinstance(expected, list):
        return len(stored) == len(expected) and all(map(_is_same, stored, expected))
    if isinstance(stored, float) and isinstance(expected, float):
        return math.isclose(stored, expected, rel_tol=_FLOAT_TOLERANCE)
    return stored == expected


def _first_payloads(snapshot: Snapshot) -> list[Payload]:
    return payloads(snapshot.read(0).slice(0, SAMPLE_ROWS)) if snapshot.parts else []


def _shown(must: tuple[object, ...]) -> str:
    return " and ".join(map(_shown_condition, must))


def _shown_condition(condition: object) -> str:
    fields: Iterator[str] = (
        f"{name} {value!r}"
        for name in ("field", "value", "values", "gte")
        if (value := getattr(condition, name, None)) is not None
    )
    return ", ".join(fields)


def _largest_distance(run: ReindexRun, engine: Engine, student: Student, sample: list[tuple[str, str]]) -> float:
    if not sample:
        return 0.0
    expected = student.embed_keyphrases([text for _, text in sample])
    records: list[Record] = engine.retrieve(run.collection, [id for id, _ in sample], with_vectors=True)
    stored = np.stack([record.vector for record in records if record.vector is not None])
    return float((1.0 - (expected * stored).sum(axis=1)).max())
