"""Snapshot rows as points of a collection."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from keydistill.settings import Settings
from keydistill.vectorstore import CollectionSpec, FieldType, Payload

# Fields that every keyphrase filter may use; they are indexed in every collection.
PAYLOAD_INDEXES: Mapping[str, FieldType] = {
    "category_ids": "keyword",
    "site": "keyword",
    "search_volume": "integer",
}


def collection_spec(dimension: int, settings: Settings) -> CollectionSpec:
    """The collection that the settings ask for."""
    return CollectionSpec(
        dimension=dimension,
        payload_indexes={**PAYLOAD_INDEXES, **settings.payload_indexes},
        quantization=settings.quantization,
        hnsw_m=settings.hnsw_m,
        hnsw_ef_construct=settings.hnsw_ef_construct,
    )


def index_settings(spec: CollectionSpec) -> dict[str, Any]:
    """What decides the index, besides the points: for the collection's metadata."""
    return {
        "payload_indexes": dict(spec.payload_indexes),
        "quantization": spec.quantization,
        "hnsw_m": spec.hnsw_m,
        "hnsw_ef_construct": spec.hnsw_ef_construct,
    }


def payloads(rows: pa.Table) -> list[Payload]:
    """The payload of each row: its fields that have a value, and the free ones beside them."""
    columns = [
        rows.column(name).to_pylist()
        for name in ("keyphrase", "category_ids", "site", "search_volume", "language", "text_hash", "payload")
    ]
    return [_payload(*values) for values in zip(*columns, strict=True)]


def _payload(
    keyphrase: str,
    category_ids: list[str],
    site: str | None,
    search_volume: int | None,
    language: str | None,
    text_hash: str,
    free: str | None,
) -> Payload:
    payload: dict[str, Any] = json.loads(free) if free else {}
    payload["keyphrase"] = keyphrase
    payload["text_hash"] = text_hash
    if category_ids:
        payload["category_ids"] = category_ids
    if site is not None:
        payload["site"] = site
    if search_volume is not None:
        payload["search_volume"] = search_volume
    if language is not None:
        payload["language"] = language
    return payload
