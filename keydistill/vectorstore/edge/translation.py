"""Our types in the words of `qdrant_edge`, and back."""

# Some names of the stubs, such as ShardInfo, do not exist at run time.
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import cast
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from keydistill.errors import VectorStoreError
from keydistill.settings import Component, Quantization, Tier
from keydistill.vectorstore.engine import Hit, PointBatch, Record, SearchParams, Vectors
from keydistill.vectorstore.filters import AnyOf, Condition, Equals, Filter
from keydistill.vectorstore.spec import CollectionSpec, FieldType

_SCHEMAS: dict[FieldType, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
}

_INDEXES: dict[FieldType, Callable[..., edge.PayloadSchemaParams]] = {
    "keyword": edge.KeywordIndexParams,
    "integer": edge.IntegerIndexParams,
    "float": edge.FloatIndexParams,
    "bool": edge.BoolIndexParams,
}
_MEMORY: dict[Tier, edge.Memory] = {
    "cold": edge.Memory.Cold,
    "cached": edge.Memory.Cached,
    "pinned": edge.Memory.Pinned,
}


def shard_config(spec: CollectionSpec) -> edge.EdgeConfig:
    """The shard that a spec asks for."""
    memory = _tiers(spec)
    # Beside quantized vectors the originals serve only to rescore, and need not be read in on opening.
    originals = edge.Memory.Cached if spec.quantization == "none" else edge.Memory.Cold
    return edge.EdgeConfig(
        # Dot and not Cosine: vectors are normalised already, and Cosine would do it a second time.
        vectors=edge.EdgeVectorParams(
            size=spec.dimension,
            distance=edge.Distance.Dot,
            quantization_config=_quantization(spec.quantization, memory.get("quantized", edge.Memory.Pinned)),
            memory=memory.get("vectors", originals),
        ),
        hnsw_config=edge.HnswIndexConfig(
            m=spec.hnsw_m,
            ef_construct=spec.hnsw_ef_construct,
            full_scan_threshold=10_000,
            memory=memory.get("graph"),
        ),
        # One segment: a query then walks one graph.
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
        payload_memory=memory.get("payload"),
        id_tracker_memory=memory.get("ids"),
    )


def _tiers(spec: CollectionSpec) -> dict[Component, edge.Memory]:
    return {component: _MEMORY[tier] for component, tier in spec.placement.items()}


def _quantization(name: Quantization, memory: edge.Memory) -> edge.QuantizationConfigType | None:
    if name == "none":
        return None
    if name == "int8":
        return edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, memory=memory)
    if name == "binary":
        return edge.BinaryQuantizationConfig(memory=memory)
    bits = {"turbo4": edge.TurboQuantBitSize.Bits4, "turbo2": edge.TurboQuantBitSize.Bits2}[name]
    return edge.TurboQuantQuantizationConfig(bits=bits, memory=memory)


def field_index(field: str, kind: FieldType, spec: CollectionSpec) -> edge.UpdateOperation:
    """The operation that makes a payload index of a spec."""
    memory = _tiers(spec).get("indexes")
    if field == spec.tenant:
        return edge.UpdateOperation.create_field_index(field, edge.KeywordIndexParams(is_tenant=True, memory=memory))
    if memory is None:
        return edge.UpdateOperation.create_field_index(field, _SCHEMAS[kind])
    return edge.UpdateOperation.create_field_index(field, _INDEXES[kind](memory=memory))


def field_types(info: edge.ShardInfo) -> dict[str, FieldType]:
    """The payload indexes that a shard has."""
    # Members of this enumeration can be compared but not hashed.
    return {
        field: kind
        for field, index in info.payload_schema.items()
        for kind, schema in _SCHEMAS.items()
        if index.data_type == schema
    }


def edge_filter(filter: Filter | None) -> edge.Filter | None:
    """Our filter as the engine's; None where nothing is filtered."""
    return edge.Filter(must=[_condition(condition) for condition in filter.must]) if filter else None


def _condition(condition: Condition) -> edge.FieldCondition:
    if isinstance(condition, Equals):
        # The binding takes Python's True for the integer 1, which equals no bool; numpy's it knows.
        value = np.bool_(condition.value) if isinstance(condition.value, bool) else condition.value
        return edge.FieldCondition(condition.field, match=edge.MatchValue(value))  # type: ignore[arg-type]
    if isinstance(condition, AnyOf):
        return edge.FieldCondition(condition.field, match=edge.MatchAny(list(condition.values)))  # type: ignore[arg-type]
    bounds = edge.RangeFloat(gte=condition.gte, gt=condition.gt, lte=condition.lte, lt=condition.lt)
    return edge.FieldCondition(condition.field, range=bounds)


def query_request(vector: Vectors, limit: int, filter: Filter | None, params: SearchParams) -> edge.QueryRequest:
    """A nearest-neighbour query with payloads."""
    return edge.QueryRequest(
        limit=limit,
        query=edge.Query.Nearest(np.ascontiguousarray(vector)),  # type: ignore[arg-type]  # the stub leaves out arrays
        filter=edge_filter(filter),
        with_payload=True,
        params=edge.SearchParams(
            hnsw_ef=params.ef,
            exact=params.exact,
            quantization=edge.QuantizationSearchParams(
                ignore=params.exact, rescore=True, oversampling=params.oversampling
            ),
            acorn=edge.AcornSearchParams(enable=True) if params.acorn else None,
        ),
    )


def hit(point: edge.ScoredPoint) -> Hit:
    """A found point."""
    return Hit(str(point.id), point.score, point.payload or {})


def record(point: edge.Record) -> Record:
    """A stored point."""
    vector = point.vector  # a new list each time it is asked for
    return Record(str(point.id), point.payload or {}, None if vector is None else _float32(cast(list[float], vector)))


def _float32(values: list[float]) -> Vectors:
    """The array of these numbers, which float32 holds exactly; in half the time that `numpy.array` takes for it."""
    return np.frombuffer(bytearray(struct.pack(f"{len(values)}f", *values)), dtype=np.float32)


def points(batch: PointBatch) -> list[edge.Point]:
    """Points to write.

    Raises:
        VectorStoreError: An id is no UUID.
    """
    ids, vectors = point_ids(list(batch.ids)), np.asarray(batch.vectors, dtype=np.float32)
    return [
        # The binding asks for number after number: 384 of them take 7 microseconds of a view, 23 of an array.
        edge.Point(id, memoryview(vector), payload)  # type: ignore[arg-type]  # the stub knows lists alone
        for id, vector, payload in zip(ids, vectors, batch.payloads, strict=True)
    ]


def having_ids(ids: list[str]) -> edge.Filter:
    """The filter that these points pass."""
    return edge.Filter(must=[edge.HasIdCondition(set(point_ids(ids)))])


def point_ids(ids: list[str]) -> list[edge.PointId]:
    """Ids as the engine takes them.

    Raises:
        VectorStoreError: One is no UUID.
    """
    return [_point_id(id) for id in ids]


def _point_id(id: str) -> UUID:
    try:
        return UUID(id)
    except ValueError:
        raise VectorStoreError(f"point ids must be UUID texts, found {id!r}") from None
