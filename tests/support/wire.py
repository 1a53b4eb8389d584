"""Qdrant's JSON in the words of `qdrant_edge`, and back: the part that the REST front of the tests speaks.

The format is that of https://api.qdrant.tech/api-reference.
"""

from copy import deepcopy
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge

Json = Any

SCHEMAS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
}


class Refusal(Exception):  # noqa: N818  # it is an answer, not a defect
    """An answer that is an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def not_found(name: str) -> Refusal:
    return Refusal(404, f"Not found: Collection `{name}` doesn't exist!")


def shard_config(config: Json) -> edge.EdgeConfig:
    """The shard for a collection's configuration."""
    vectors, hnsw = config["params"]["vectors"], config["hnsw_config"]
    if "size" not in vectors:
        # Other programs' collections, with named vectors or sparse ones: they are there to be seen, not to be used.
        vectors = {"size": 1, "distance": "Dot"}
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=vectors["size"], distance=getattr(edge.Distance, vectors["distance"])),
        quantization_config=_quantization(config["quantization_config"] or {}),
        # A graph for a few hundred points too, which the server would not make: tests are about graphs.
        hnsw_config=edge.HnswIndexConfig(
            m=hnsw["m"], ef_construct=hnsw["ef_construct"], full_scan_threshold=10, max_indexing_threads=1
        ),
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=10),
    )


def _quantization(config: Json) -> Any:
    if "scalar" in config:
        return edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, always_ram=True)
    if "binary" in config:
        return edge.BinaryQuantizationConfig(always_ram=True)
    if "turbo" in config:
        bits = {"bits4": edge.TurboQuantBitSize.Bits4, "bits2": edge.TurboQuantBitSize.Bits2}
        return edge.TurboQuantQuantizationConfig(always_ram=True, bits=bits[config["turbo"]["bits"]])
    return None


def id_of(id: Json) -> int | UUID:
    try:
        return id if isinstance(id, int) else UUID(id)
    except (ValueError, AttributeError):
        raise Refusal(400, f"Format error in JSON body: value {id} is not a valid point ID") from None


def wire_id(id: Any) -> int | str:
    return id if isinstance(id, int) else str(id)


_CLAUSES = ("must", "should", "must_not")


def filter_of(body: Json | None) -> edge.Filter | None:
    return None if body is None else required_filter(body)


def required_filter(body: Json) -> edge.Filter:
    unknown = set(body) - set(_CLAUSES)
    if unknown:
        raise Refusal(400, f"this front does not speak {sorted(unknown)} in filters")
    must, should, must_not = ([_condition(item) for item in body.get(kind) or []] or None for kind in _CLAUSES)
    return edge.Filter(must=must, should=should, must_not=must_not)


def _condition(body: Json) -> Any:
    if "has_id" in body:
        return edge.HasIdCondition({id_of(id) for id in body["has_id"]})
    if "must" in body or "should" in body or "must_not" in body:
        return required_filter(body)
    if body.get("range") is not None:
        bounds = {name: value for name, value in body["range"].items() if value is not None}
        return edge.FieldCondition(body["key"], range=edge.RangeFloat(**bounds))
    match = body.get("match") or {}
    if "value" in match:
        value = match["value"]
        # The binding takes Python's own True for the integer 1, which no bool field equals; numpy's it knows.
        known: Any = np.bool_(value) if isinstance(value, bool) else value
        return edge.FieldCondition(body["key"], match=edge.MatchValue(known))
    if "any" in match:
        return edge.FieldCondition(body["key"], match=edge.MatchAny(match["any"]))
    raise Refusal(400, f"this front does not speak the condition {body}")


def vector_of(body: Json) -> list[float]:
    """A vector, bare or as the query `{"nearest": vector}`."""
    vector = body["nearest"] if isinstance(body, dict) else body
    # A null is what became of a NaN on its way.
    if not isinstance(vector, list) or not all(isinstance(number, int | float) for number in vector):
        raise Refusal(400, "Format error in JSON body: a vector is a list of numbers")
    return vector


def query_of(body: Json) -> edge.QueryRequest:
    limit = body.get("limit", 10)
    if limit < 1:
        raise Refusal(422, f"Validation error in JSON body: [limit: value {limit} invalid, must be 1 or larger]")
    params = body.get("params") or {}
    quantization = params.get("quantization") or {}
    return edge.QueryRequest(
        limit=limit,
        offset=body.get("offset", 0),
        query=edge.Query.Nearest(vector_of(body["query"])),
        filter=filter_of(body.get("filter")),
        with_payload=body.get("with_payload", False),
        with_vector=body.get("with_vector", False),
        params=edge.SearchParams(
            hnsw_ef=params.get("hnsw_ef"),
            exact=params.get("exact", False),
            quantization=edge.QuantizationSearchParams(
                ignore=quantization.get("ignore", False),
                rescore=quantization.get("rescore"),
                oversampling=quantization.get("oversampling"),
            ),
            acorn=_acorn_of(params.get("acorn")),
        ),
    )


def _acorn_of(body: Json) -> edge.AcornSearchParams | None:
    if body is None:
        return None
    return edge.AcornSearchParams(enable=body.get("enable") or False, max_selectivity=body.get("max_selectivity"))


def scored_json(point: Any) -> Json:
    return {"version": point.version, "score": point.score, **record_json(point)}


def record_json(point: Any) -> Json:
    shown = {"id": wire_id(point.id)}
    if point.payload is not None:
        shown["payload"] = point.payload
    if point.vector is not None:
        shown["vector"] = point.vector
    return shown


def collection_config(body: Json, limits: Json) -> dict[str, Any]:
    """The configuration that a creation request asks for, with the server's defaults and its strict mode."""
    hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0}
    optimizer = {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1_000,
        "default_segment_number": 0,
        "indexing_threshold": 10_000,
        "flush_interval_sec": 5,
    }
    return {
        "params": {
            "vectors": deepcopy(body.get("vectors") or {}),
            "sparse_vectors": body.get("sparse_vectors"),
            "shard_number": body.get("shard_number") or 1,
            "replication_factor": body.get("replication_factor") or 1,
            "write_consistency_factor": body.get("write_consistency_factor") or 1,
            **{name: body[name] for name in ("payload", "id_tracker") if body.get(name)},
        },
        "hnsw_config": hnsw | (body.get("hnsw_config") or {}),
        "optimizer_config": optimizer | (body.get("optimizers_config") or {}),
        "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        "quantization_config": body.get("quantization_config"),
        "metadata": body.get("metadata"),
        "strict_mode_config": body.get("strict_mode_config") or limits,
        "due": False,
    }
