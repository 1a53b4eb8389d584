"""Our types in the words of `qdrant_client`, and back."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from qdrant_client import models

from keydistill.errors import VectorStoreError
from keydistill.vectorstore.engine import Hit, PointBatch, Record, SearchParams, Vectors
from keydistill.vectorstore.filters import AnyOf, Condition, Equals, Filter
from keydistill.vectorstore.server.creation import tier
from keydistill.vectorstore.spec import CollectionSpec, FieldType

_Thing = TypeVar("_Thing")

# A point as JSON: a float32 written as a double takes up to 24 characters with its comma, an id 39.
BYTES_PER_NUMBER = 24
_BYTES_PER_ID = 39
# Ids that need no reading to be written so.
_WRITTEN_AS_THE_SERVER_DOES = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_STATE = "keydistill_state"
_SPEC = "keydistill_spec"
_TOKEN = "keydistill_token"
_WENT_LIVE = "keydistill_went_live"
_OWN_PREFIX = "keydistill_"

_SCHEMAS: dict[FieldType, models.PayloadSchemaType] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
}
_INDEXES: dict[FieldType, Callable[[models.Memory], models.PayloadSchemaParams]] = {
    "keyword": lambda memory: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, memory=memory),
    "integer": lambda memory: models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, memory=memory),
    "float": lambda memory: models.FloatIndexParams(type=models.FloatIndexType.FLOAT, memory=memory),
    "bool": lambda memory: models.BoolIndexParams(type=models.BoolIndexType.BOOL, memory=memory),
}


def field_schema(
    field: str, kind: FieldType, spec: CollectionSpec
) -> models.PayloadSchemaType | models.PayloadSchemaParams:
    """The payload index that a spec asks for."""
    memory = tier(spec, "indexes")
    if field == spec.tenant:
        return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True, memory=memory)
    return _SCHEMAS[kind] if memory is None else _INDEXES[kind](memory)


def field_types(info: models.CollectionInfo) -> dict[str, FieldType]:
    """The payload indexes that a collection has."""
    kinds = {schema: kind for kind, schema in _SCHEMAS.items()}
    return {field: kinds[index.data_type] for field, index in info.payload_schema.items() if index.data_type in kinds}


def building_metadata(spec: CollectionSpec, token: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's metadata with ours beside it.

    Raises:
        VectorStoreError: A key of the caller's begins like ours.
    """
    check_metadata_keys(metadata)
    return {**metadata, _STATE: "building", _SPEC: spec.as_dict(), _TOKEN: token}


def check_metadata_keys(metadata: Mapping[str, Any]) -> None:
    """Refuse keys that are ours.

    Raises:
        VectorStoreError: A key of the caller's begins like ours.
    """
    taken = sorted(key for key in metadata if key.startswith(_OWN_PREFIX))
    if taken:
        raise VectorStoreError(f"metadata keys {taken} begin with {_OWN_PREFIX!r}, which is kept for us; rename them")


def ready_metadata() -> dict[str, Any]:
    """The change that marks a collection ready; the server merges it key by key."""
    return {_STATE: "ready"}


def is_ready(info: models.CollectionInfo) -> bool:
    """Whether `finish` has ended. A collection that another program made never is."""
    return _metadata(info).get(_STATE) == "ready"


def token(info: models.CollectionInfo) -> str | None:
    """What identifies the `create` that made the collection."""
    return _metadata(info).get(_TOKEN)


def stored_spec(info: models.CollectionInfo) -> CollectionSpec | None:
    """The spec that the collection was created with; None if another program made it."""
    spec = _metadata(info).get(_SPEC)
    return CollectionSpec.parse(spec) if isinstance(spec, dict) else None


def is_foreign(info: models.CollectionInfo) -> bool:
    """Whether another program made the collection."""
    return stored_spec(info) is None


def went_live(info: models.CollectionInfo) -> int | None:
    """Number of the swap that put the collection live last, as `going_live` set it; None where none did."""
    number = _metadata(info).get(_WENT_LIVE)
    return None if number is None else int(number)


def going_live(number: int) -> dict[str, Any]:
    """The change that numbers the swap which is about to put a collection live."""
    return {_WENT_LIVE: number}


def has_metadata(info: models.CollectionInfo, changes: Mapping[str, Any]) -> bool:
    """Whether these changes are in the collection's metadata."""
    metadata = _metadata(info)
    return all(_is_alike(metadata.get(key), value) for key, value in changes.items())


def _is_alike(stored: object, value: object) -> bool:
    """Whether a value was stored, tuples as lists, and floats but for what the server's JSON takes from them."""
    if isinstance(value, Mapping):
        return isinstance(stored, Mapping) and (
            stored.keys() == value.keys() and all(_is_alike(stored[key], value[key]) for key in value)
        )
    if isinstance(value, list | tuple):
        return isinstance(stored, list | tuple) and (len(stored) == len(value) and all(map(_is_alike, stored, value)))
    if isinstance(value, float) and isinstance(stored, float | int):
        return math.isclose(stored, value, rel_tol=1e-12)
    return stored == value


def caller_metadata(info: models.CollectionInfo) -> dict[str, Any]:
    """The metadata that `create` and `set_metadata` were given."""
    return {key: value for key, value in _metadata(info).items() if not key.startswith(_OWN_PREFIX)}


def _metadata(info: models.CollectionInfo) -> dict[str, Any]:
    return info.config.metadata or {}


def dimension(info: models.CollectionInfo) -> int:
    """Length of the collection's vectors; 0 where they have names or are sparse, as in other programs' collections."""
    vectors = info.config.params.vectors
    return vectors.size if isinstance(vectors, models.VectorParams) else 0


def server_filter(filter: Filter | None) -> models.Filter | None:
    """Our filter as the server's; None where nothing is filtered."""
    return models.Filter(must=[_condition(condition) for condition in filter.must]) if filter else None


def _condition(condition: Condition) -> models.FieldCondition:
    if isinstance(condition, Equals):
        return models.FieldCondition(key=condition.field, match=models.MatchValue(value=condition.value))
    if isinstance(condition, AnyOf):
        match = models.MatchAny.model_validate({"any": condition.values})
        return models.FieldCondition(key=condition.field, match=match)
    bounds = models.Range(gte=condition.gte, gt=condition.gt, lte=condition.lte, lt=condition.lt)
    return models.FieldCondition(key=condition.field, range=bounds)


def query_request(vector: Vectors, limit: int, filter: Filter | None, params: SearchParams) -> models.QueryRequest:
    """A nearest-neighbour query with payloads."""
    return models.QueryRequest(
        query=vector.tolist(),
        limit=limit,
        filter=server_filter(filter),
        with_payload=True,
        params=models.SearchParams(
            hnsw_ef=params.ef,
            exact=params.exact,
            quantization=models.QuantizationSearchParams(
                ignore=params.exact, rescore=True, oversampling=params.oversampling
            ),
            acorn=models.AcornSearchParams(enable=True) if params.acorn else None,
        ),
    )


def hit(point: models.ScoredPoint) -> Hit:
    """A found point."""
    return Hit(str(point.id), point.score, point.payload or {})


def record(point: models.Record) -> Record:
    """A stored point."""
    vector = None if point.vector is None else np.asarray(point.vector, dtype=np.float32)
    return Record(str(point.id), point.payload or {}, vector)


def point_ids(ids: Sequence[str]) -> list[str]:
    """Ids as the server writes them.

    Raises:
        VectorStoreError: One is no UUID.
    """
    return [_point_id(id) for id in ids]


def _point_id(id: str) -> str:
    if _WRITTEN_AS_THE_SERVER_DOES.fullmatch(id):
        return id
    try:
        return str(UUID(id))
    except ValueError:
        raise VectorStoreError(f"point ids must be UUID texts, found {id!r}") from None


def request_batches(points: PointBatch, limit_bytes: int, most_points: int) -> Iterator[PointBatch]:
    """The points in requests of at most so many, and `limit_bytes`; a point that is larger alone goes alone."""
    ids = point_ids(points.ids)
    vector_bytes = points.vectors.shape[1] * BYTES_PER_NUMBER + _BYTES_PER_ID
    start, size = 0, 0
    for index, payload in enumerate(points.payloads):
        # Escaped, so that it is never shorter than what is sent; whatever is not JSON fails when it is sent.
        point_bytes = vector_bytes + len(json.dumps(payload, default=str))
        if index > start and (size + point_bytes > limit_bytes or index - start == most_points):
            yield PointBatch(ids[start:index], points.vectors[start:index], points.payloads[start:index])
            start, size = index, 0
        size += point_bytes
    if ids:
        yield PointBatch(ids[start:], points.vectors[start:], points.payloads[start:])


def batch(points: PointBatch) -> models.Batch:
    """Points as REST takes them."""
    # Without a check of every number, which costs as much as making them: `point_ids` and numpy vouch for the types.
    return models.Batch.model_construct(
        ids=list(points.ids), vectors=points.vectors.tolist(), payloads=list(points.payloads)
    )


def alias_change(alias: str, target: str, present: str | None) -> list[models.AliasOperations]:
    """The operations of the one call that moves an alias; all of them happen, or none.

    See https://qdrant.tech/documentation/manage-data/collections/#switch-collection.
    """
    naming = models.CreateAlias(collection_name=target, alias_name=alias)
    operations: list[models.AliasOperations] = [models.CreateAliasOperation(create_alias=naming)]
    if present is not None:
        removal = models.DeleteAlias(alias_name=alias)
        operations.insert(0, models.DeleteAliasOperation(delete_alias=removal))
    return operations


def parts(things: Sequence[_Thing], size: int) -> Iterator[Sequence[_Thing]]:
    """The sequence cut into pieces of `size`.

    >>> list(parts([1, 2, 3], 2))
    [[1, 2], [3]]
    """
    for start in range(0, len(things), size):
        yield things[start : start + size]


def rows_per_request(dimension: int, limit_bytes: int) -> int:
    """How many query vectors of this length fit into one request."""
    return max(1, limit_bytes // (dimension * BYTES_PER_NUMBER + 1_000))
