"""What a collection is made with, and what of it a rebuild changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, TypeAlias

from keydistill.errors import VectorStoreError
from keydistill.settings import Component, Limit, Quantization, Tier

FieldType: TypeAlias = Literal["keyword", "integer", "float", "bool"]

# Bits per value of the quantized vectors.
QUANTIZED_BITS: Mapping[Quantization, float] = {"int8": 8, "turbo4": 4, "turbo2": 2, "binary": 1, "none": 0}
# What of a spec came later, and is left out where it is not set: an older keydistill then reads what it knows.
_LATER = ("tenant", "placement", "shards", "replicas", "write_consistency", "strict_mode")
# What a server alone can do.
_OF_A_SERVER = {"shards": 1, "replicas": 1, "write_consistency": 1}
# Per point: payload, its indexes, ids and graph, as measured (benchmarks/million.py).
_BYTES_BESIDE_VECTORS = 610


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """How a collection is stored and indexed.

    Attributes:
        dimension: Length of its vectors, which are L2-normalised; the distance is the dot product.
        payload_indexes: Types of the indexed fields. The indexes are made before the first point, or HNSW gets no edges
            for filters (https://qdrant.tech/documentation/concepts/indexing/#filterable-index).
        quantization: Way in which vectors are kept in memory beside the originals, which rescore the result.
        hnsw_m: Edges per node.
        hnsw_ef_construct: Candidates considered per insertion.
        tenant: Keyword field by whose values points are laid together.
        placement: Tier of the memory for each part of the collection; of the others the engine decides.
        shards: Number of shards; None leaves it to the server.
        replicas: Number of copies of each shard; None leaves it to the server.
        write_consistency: Number of replicas that must have a write before it counts; None leaves it to the server.
        strict_mode: Limits that the server sets for the collection.
    """

    dimension: int
    payload_indexes: Mapping[str, FieldType] = field(default_factory=dict)
    quantization: Quantization = "int8"
    hnsw_m: int = 16
    hnsw_ef_construct: int = 128
    tenant: str | None = None
    placement: Mapping[Component, Tier] = field(default_factory=dict)
    shards: int | None = None
    replicas: int | None = None
    write_consistency: int | None = None
    strict_mode: Mapping[str, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tenant is not None and self.payload_indexes.get(self.tenant) != "keyword":
            keywords = ", ".join(name for name, kind in self.payload_indexes.items() if kind == "keyword") or "none"
            raise VectorStoreError(
                f"setting 'tenant': {self.tenant!r} is no indexed keyword field; expected one of: {keywords}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a card or metadata."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
        return {name: value for name, value in plain.items() if name not in _LATER or value}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`.

        Raises:
            TypeError: It is none, or a newer keydistill wrote it.
        """
        return cls(**values)

    def without(self, names: Iterable[str]) -> Self:
        """The spec with the fields of these names as an engine chooses."""
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in set(names)}
        return type(self)(**kept)

    def changes_from(self, former: "CollectionSpec", made: Mapping[str, int]) -> list[str]:
        """What is another way than in a former collection, besides dimension and indexes, as "shards 1 -> 3".

        Args:
            former: What the former collection was made with.
            made: Numbers that the server chose for it, by the names of fields.
        """
        changes = []
        for each in fields(self):
            before, now = getattr(former, each.name), getattr(self, each.name)
            if each.name in ("dimension", "payload_indexes") or before == now:
                continue
            before = made.get(each.name) if before is None else before
            if before != now:
                changes.append(f"{each.name} {_shown(before)} -> {_shown(now)}")
        return changes

    @property
    def of_a_server(self) -> dict[str, object]:
        """What of it asks for a server: fields with their values; one shard with one replica asks for none."""
        asked = {name: getattr(self, name) for name, least in _OF_A_SERVER.items() if getattr(self, name) != least}
        return {name: value for name, value in {**asked, "strict_mode": self.strict_mode}.items() if value}


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={str(each).lower()}" for name, each in value.items()) or "default"
    return "default" if value is None else str(value)


def estimated_bytes(points: int, spec: CollectionSpec) -> int:
    """The estimated size of a ready collection on disk."""
    per_value = 4 + QUANTIZED_BITS[spec.quantization] / 8
    return round(points * (spec.dimension * per_value + _BYTES_BESIDE_VECTORS))
