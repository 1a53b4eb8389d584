"""Points of a collection as Parquet files, which every engine can read back."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.backup.archive import Archive
from keydistill.backup.manifest import Part, SavedCollection
from keydistill.errors import StorageError
from keydistill.progress import Progress
from keydistill.vectorstore import CollectionInfo, CollectionSpec, Engine, PointBatch, Record

_PART_ROWS = 20_000
# Metadata that decide no point: how it is searched, whose it is, and where its student lies.
_OF_THE_PLACE = ("search", "installation", "student")


def content_key(info: CollectionInfo) -> str:
    """Digest of what decides the points of a collection, without reading them: when they change, this changes.

    Reindex and sync are all that writes points, and both write metadata with them.
    """
    metadata = {name: value for name, value in info.metadata.items() if name not in _OF_THE_PLACE}
    described = {"name": info.name, "points": info.points, "dimension": info.dimension, "metadata": metadata}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def keep_points(engine: Engine, name: str, archive: Archive, folder: Path, progress: Progress) -> tuple[Part, ...]:
    """Store all points of a collection; `folder` is for the part that is being written."""
    parts = []
    for records in _batches(engine.scroll(name, with_vectors=True)):
        with tempfile.TemporaryDirectory(dir=folder) as work:
            file = Path(work) / "part.parquet"
            pq.write_table(_table(records), file, compression="zstd")
            parts.append(Part(archive.keep_file(file), len(records)))
        progress.advance(len(records))
    return tuple(parts)


def put_points(
    engine: Engine, name: str, saved: SavedCollection, archive: Archive, folder: Path, batch: int, progress: Progress
) -> None:
    """Make a ready collection of stored points, in another way than the saved one where the engine has to.

    Raises:
        StorageError: A part is missing or damaged, or they are not as many points as the manifest says.
    """
    spec, _ = fitting_spec(engine, saved)
    engine.create(name, spec, saved.metadata)
    engine.check_room(name, saved.points, 0)
    for part in saved.parts:
        with tempfile.TemporaryDirectory(dir=folder) as work:
            file = Path(work) / "part.parquet"
            archive.fetch(part.digest, file)
            table = pq.read_table(file)
        for start in range(0, len(table), batch):
            points = _points(table.slice(start, batch), spec.dimension)
            engine.upsert(name, points)
            progress.advance(len(points))
    count = engine.count(name)
    if count != saved.points:
        raise StorageError(
            f"collection {name} has {count:,} points, its backup should have {saved.points:,}; restore again with "
            "another --backup"
        )
    engine.finish(name)


def fitting_spec(engine: Engine, saved: SavedCollection) -> tuple[CollectionSpec, list[str]]:
    """The spec of a saved collection without what the engine cannot do, and the reasons for what was left out.

    A backup may be restored on another engine, or on a smaller cluster, than it was made on.
    """
    spec = CollectionSpec.parse(saved.spec)
    cannot = engine.cannot_do(spec)
    return spec.without(cannot), list(cannot.values())


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, _PART_ROWS)):
        yield batch


def _table(records: list[Record]) -> pa.Table:
    vectors = np.stack([np.asarray(record.vector, dtype=np.float32) for record in records])
    return pa.table(
        {
            "id": [record.id for record in records],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
            "payload": [json.dumps(record.payload, sort_keys=True, ensure_ascii=False) for record in records],
        }
    )


def _points(rows: pa.Table, dimension: int) -> PointBatch:
    vectors = rows.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    payloads: list[dict[str, Any]] = [json.loads(text) for text in rows.column("payload").to_pylist()]
    return PointBatch(rows.column("id").to_pylist(), vectors.reshape(-1, dimension), payloads)
