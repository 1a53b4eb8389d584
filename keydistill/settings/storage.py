"""The settings of how collections are stored, a part of the one settings object."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, Field, ValidationInfo, field_validator

Quantization: TypeAlias = Literal["int8", "turbo4", "turbo2", "binary", "none"]
Component: TypeAlias = Literal["vectors", "quantized", "graph", "payload", "indexes", "ids"]
Tier: TypeAlias = Literal["cold", "cached", "pinned"]
Limit: TypeAlias = bool | int | float

# Of these Qdrant pins nothing in memory (https://api.qdrant.tech/api-reference/collections/create-collection).
_NEVER_PINNED = ("vectors", "payload")
# The limits of strict mode that concern collections like ours, with the type of each
# (https://qdrant.tech/documentation/guides/administration/#strict-mode).
STRICT_MODE_LIMITS: Mapping[str, type[bool] | type[int] | type[float]] = {
    "max_query_limit": int,
    "max_timeout": int,
    "unindexed_filtering_retrieve": bool,
    "unindexed_filtering_update": bool,
    "search_max_hnsw_ef": int,
    "search_allow_exact": bool,
    "search_max_oversampling": float,
    "upsert_max_batchsize": int,
    "search_max_batchsize": int,
    "max_collection_vector_size_bytes": int,
    "max_collection_payload_size_bytes": int,
    "max_points_count": int,
    "read_rate_limit": int,
    "write_rate_limit": int,
    "filter_max_conditions": int,
    "condition_max_size": int,
    "max_payload_index_count": int,
}


class StorageSettings(BaseModel):
    """How new collections are stored; docs/scaling.md says more of each."""

    quantization: Quantization = Field(
        default="int8", description="how vectors are kept in memory: at 8, 4, 2 or 1 bits per value, or as they are"
    )
    hnsw_m: int = Field(default=16, ge=4, le=128, description="edges per node of the HNSW graph")
    hnsw_ef_construct: int = Field(
        default=128, ge=8, le=2048, description="candidates per insertion into the HNSW graph"
    )
    shards: int | None = Field(
        default=None, ge=1, le=10_000, description="shards of a new collection; unset: as many as the server makes"
    )
    replicas: int | None = Field(
        default=None, ge=1, le=100, description="copies of each shard, on as many nodes; unset: as the server does"
    )
    write_consistency: int | None = Field(
        default=None, ge=1, le=100, description="replicas that must have a write before it counts; unset: one"
    )
    placement: dict[Component, Tier] = Field(
        default_factory=dict,
        description='where parts of a collection are kept, as in {"graph": "pinned", "vectors": "cold"}; '
        "of the others the engine decides",
    )
    tenant: str | None = Field(
        default=None,
        description="keyword field by which points are laid together on disk, such as site; unset: none",
    )
    strict_mode: dict[str, Annotated[bool, Field(strict=True)] | int | float] = Field(
        default_factory=dict,
        description='limits that the server sets for our collections, as in {"max_query_limit": 1000}',
    )

    @field_validator("write_consistency")
    @classmethod
    def _within_replicas(cls, value: int | None, info: ValidationInfo) -> int | None:
        replicas = info.data.get("replicas")
        if value is not None and value > (replicas or 1):
            has = "replicas is unset" if replicas is None else f"replicas is {replicas}"
            raise ValueError(f"{value} replicas must have a write, but {has}; set replicas to {value} or more")
        return value

    @field_validator("placement")
    @classmethod
    def _possible_placement(cls, value: dict[Component, Tier], info: ValidationInfo) -> dict[Component, Tier]:
        for component in _NEVER_PINNED:
            if value.get(component) == "pinned":  # type: ignore[call-overload]
                raise ValueError(f"Qdrant pins no {component} in memory; expected cold or cached")
        if "quantized" in value and info.data.get("quantization") == "none":
            raise ValueError("'quantized' has a place, but quantization is none; leave it out")
        return value

    @field_validator("strict_mode", mode="before")
    @classmethod
    def _known_limits(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        for name, limit in value.items():
            expected = STRICT_MODE_LIMITS.get(name)
            if expected is None:
                raise ValueError(f"there is no limit {name!r}; expected one of {', '.join(STRICT_MODE_LIMITS)}")
            is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
            if expected is bool and not isinstance(limit, bool):
                raise ValueError(f"{name} is {limit!r}; expected true or false")
            if expected is not bool and not (is_number and limit > 0 and (expected is float or limit == int(limit))):
                kind = "number" if expected is float else "whole number"
                raise ValueError(f"{name} is {limit!r}; expected a {kind} above 0")
        return value


QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)
COMPONENTS: tuple[Component, ...] = get_args(Component)
TIERS: tuple[Tier, ...] = get_args(Tier)
