"""Snapshot rows as points of a collection."""

import json
from typing import Any

import pyarrow as pa

from keydistill.errors import CollectionLostError, CollectionNotFoundError, SettingsError
from keydistill.ingest.snapshot import Snapshot
from keydistill.settings import Settings
from keydistill.vectorstore import INDEXED_FIELDS, CollectionSpec, Engine, Payload, payload_indexes

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
        tenant=settings.tenant,
        placement=settings.placement,
        shards=settings.shards,
        replicas=settings.replicas,
        write_consistency=settings.write_consistency,
        strict_mode=settings.strict_mode,
    )


def check_spec(spec: CollectionSpec, engine: Engine) -> None:
    """Raise unless an engine can make such a collection.

    Raises:
        SettingsError: It cannot; the message names the setting.
    """
    for name, reason in engine.cannot_do(spec).items():
        raise SettingsError(f"setting {name!r}: {reason}")


def changes_of_storage(spec: CollectionSpec, engine: Engine, former: str | None) -> list[str]:
    """What a rebuild stores in another way than its predecessor, as "shards 1 -> 3"; nothing where that one is gone."""
    if former is None:
        return []
    try:
        info = engine.info(former)
    except (CollectionNotFoundError, CollectionLostError):
        return []
    return [] if info.spec is None else spec.changes_from(info.spec, info.made)


def index_settings(spec: CollectionSpec) -> dict[str, Any]:
    """The settings that decide the index, besides the points, for the collection's metadata."""
    return {name: value for name, value in spec.as_dict().items() if name != "dimension"}


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
