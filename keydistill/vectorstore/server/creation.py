"""A spec in the words of the request that creates a collection, and whether the server took all of it."""

from typing import Any

from qdrant_client import models

from keydistill.settings import Component
from keydistill.vectorstore.spec import CollectionSpec


def creation(spec: CollectionSpec) -> dict[str, Any]:
    """Arguments of `QdrantClient.create_collection`; what is not asked for is left to the server."""
    payload, ids = tier(spec, "payload"), tier(spec, "ids")
    return {
        "vectors_config": models.VectorParams(
            size=spec.dimension, distance=models.Distance.DOT, memory=tier(spec, "vectors")
        ),
        # No graph and no quantization during the load: both are made once, at the end, where otherwise every small
        # segment would be quantized, and again when it is merged. `indexing_threshold=0` would load faster but leave
        # everything unoptimised in memory until then
        # (https://qdrant.tech/documentation/tutorials-develop/bulk-upload/).
        "hnsw_config": models.HnswConfigDiff(m=0, ef_construct=spec.hnsw_ef_construct, memory=tier(spec, "graph")),
        "quantization_config": None if _waits(spec) else quantization(spec),
        "shard_number": spec.shards,
        "replication_factor": spec.replicas,
        "write_consistency_factor": spec.write_consistency,
        "payload": None if payload is None else models.PayloadStorageParams(memory=payload),
        "id_tracker": None if ids is None else models.IdTrackerParams(memory=ids),
        "strict_mode_config": (
            models.StrictModeConfig.model_validate({"enabled": True, **spec.strict_mode}) if spec.strict_mode else None
        ),
    }


def tier(spec: CollectionSpec, component: Component) -> models.Memory | None:
    """The tier that a spec asks for; None leaves it to the server."""
    name = spec.placement.get(component)
    return None if name is None else models.Memory(name)


def _waits(spec: CollectionSpec) -> bool:
    """Whether the quantization can be asked for at the end: every server knows it, and refuses none of it that late."""
    return spec.quantization == "int8" and tier(spec, "quantized") is None


def quantization(spec: CollectionSpec) -> models.QuantizationConfig | None:
    """The quantization that a spec asks for."""
    if spec.quantization == "none":
        return None
    memory = tier(spec, "quantized")
    # `always_ram` and not the newer `memory`, which servers before 1.19 do not know
    # (https://qdrant.tech/documentation/operate-and-maintain/bulk-data-import/).
    place: dict[str, Any] = {"always_ram": True} if memory is None else {"memory": memory}
    if spec.quantization == "int8":
        return models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, **place))
    if spec.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**place))
    bits = {"turbo4": models.TurboQuantBitSize.BITS4, "turbo2": models.TurboQuantBitSize.BITS2}[spec.quantization]
    return models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=bits, **place))


def not_taken(spec: CollectionSpec, config: models.CollectionConfig) -> list[str]:
    """The settings that the server's description lacks: it is too old for them, and ignored what it did not know.

    A quantization that it does not know it refuses by itself.
    """
    params, strict = config.params, config.strict_mode_config
    vectors = params.vectors
    pairs: dict[str, tuple[object, object]] = {
        "shards": (spec.shards, params.shard_number),
        "replicas": (spec.replicas, params.replication_factor),
        "write_consistency": (spec.write_consistency, params.write_consistency_factor),
        "placement of vectors": (
            tier(spec, "vectors"),
            vectors.memory if isinstance(vectors, models.VectorParams) else None,
        ),
        "placement of quantized": (tier(spec, "quantized"), _memory_of(config.quantization_config)),
        "placement of graph": (tier(spec, "graph"), config.hnsw_config.memory),
        "placement of payload": (tier(spec, "payload"), params.payload and params.payload.memory),
        "placement of ids": (tier(spec, "ids"), params.id_tracker and params.id_tracker.memory),
        **{f"strict_mode {name}": (limit, getattr(strict, name, None)) for name, limit in spec.strict_mode.items()},
    }
    return [name for name, (wanted, got) in pairs.items() if wanted is not None and wanted != got]


def made(config: models.CollectionConfig) -> dict[str, int]:
    """Numbers of shards and replicas, by the names of a spec's fields."""
    params = config.params
    numbers = {
        "shards": params.shard_number,
        "replicas": params.replication_factor,
        "write_consistency": params.write_consistency_factor,
    }
    return {name: number for name, number in numbers.items() if number is not None}


def _memory_of(quantization: models.QuantizationConfig | None) -> models.Memory | None:
    for name in ("scalar", "binary", "turbo"):
        inner = getattr(quantization, name, None)
        if inner is not None:
            memory: models.Memory | None = inner.memory
            return memory
    return None
