"""Snapshot rows as points of a collection."""

import json
from typing import Any

import pyarrow as pa

from keydistill.ingest.snapshot import Snapshot
from keydistill.settings import Settings
from keydistill.vectorstore import INDEXED_FIELDS, CollectionSpec, Payload, payload_indexes

# Columns of a snapshot's part that a payload keeps where they have a value, beside the free fields.
POINT_COLUMNS = ("keyphrase", "language", "text_hash", *(field.name for field in INDEXED_FIELDS))

_SAMPLE_ROWS = 1_000


def collection_spec(dimension: int, settings: Settings) -> CollectionSpec:
    """The collection that the settings ask for."""
    return CollectionSpec(
        dimension=dimension,
        payload_indexes=payload_indexes(settings.payload_indexes),
        quantization=settings.quantization,
        hnsw_m=settings.hnsw_m,
        hnsw_ef_construct=settings.hnsw_ef_construct,
    )


def index_settings(spec: CollectionSpec) -> dict[str, Any]:
    """The settings that decide the index, besides the points, for the collection's metadata."""
    return {
        "payload_indexes": dict(spec.payload_indexes),
        "quantization": spec.quantization,
        "hnsw_m": spec.hnsw_m,
        "hnsw_ef_construct": spec.hnsw_ef_construct,
    }


def payloads(rows: pa.Table) -> list[Payload]:
    """The payload of each row: its known fields that have a value, and its free fields."""
    names = [name for name in POINT_COLUMNS if name in rows.column_names]
    columns = [rows.column(name).to_pylist() for name in names]
    free = rows.column("payload").to_pylist()
    return [_payload(names, values, text) for text, *values in zip(free, *columns, strict=True)]


def payload_bytes(snapshot: Snapshot) -> int:
    """The size of all payloads as JSON, estimated by the first rows."""
    if not snapshot.parts:
        return 0
    sample = payloads(snapshot.read(0).slice(0, _SAMPLE_ROWS))
    return snapshot.summary.rows * sum(len(json.dumps(payload)) for payload in sample) // max(1, len(sample))


def _payload(names: list[str], values: list[Any], free: str | None) -> Payload:
    payload: Payload = json.loads(free) if free else {}
    for name, value in zip(names, values, strict=True):
        if value is not None and value != []:
            payload[name] = value
    return payload
