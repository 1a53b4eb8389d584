"""A made-up inventory with vectors, and the search that every engine is measured against."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from keydistill.vectorstore import CollectionSpec, Payload, PointBatch, Vectors

DIMENSION = 32
SPEC = CollectionSpec(
    dimension=DIMENSION,
    payload_indexes={
        "category_ids": "keyword",
        "site": "keyword",
        "search_volume": "integer",
        "bid": "float",
        "active": "bool",
    },
)
_NAMESPACE = UUID("5f2f5c1e-6f0f-4c5e-9b59-2f0f6f6f2a11")


def point_id(name: object) -> str:
    return str(uuid5(_NAMESPACE, str(name)))


def unit_vectors(count: int, seed: int, dimension: int = DIMENSION) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


@dataclass(frozen=True)
class Corpus:
    """Points, and exact answers about them."""

    ids: list[str]
    vectors: Vectors
    payloads: list[Payload]

    def batches(self, size: int = 1_000) -> list[PointBatch]:
        return [
            PointBatch(
                self.ids[start : start + size],
                self.vectors[start : start + size],
                self.payloads[start : start + size],
            )
            for start in range(0, len(self.ids), size)
        ]

    def passing(self, passes: Callable[[Payload], bool]) -> set[str]:
        return {id for id, payload in zip(self.ids, self.payloads, strict=True) if passes(payload)}

    def best(self, query: Vectors, limit: int, passes: Callable[[Payload], bool]) -> dict[str, float]:
        """Ids and scores of the best points that pass, by comparing with all of them."""
        rows: NDArray[Any] = np.array([row for row, payload in enumerate(self.payloads) if passes(payload)], dtype=int)
        scores = self.vectors[rows] @ query
        order = np.argsort(-scores, kind="stable")[:limit]
        return {self.ids[rows[place]]: float(scores[place]) for place in order}


def make_corpus(count: int = 3_000, seed: int = 11) -> Corpus:
    """Keyphrases in five categories of four leaves each, on two sites."""
    rng = np.random.default_rng(seed)
    payloads: list[Payload] = []
    for number in range(count):
        parent, leaf = number % 5, number % 20
        payloads.append(
            {
                "keyphrase": f"phrase {number}",
                "category_ids": [f"root {parent}", f"root {parent} > leaf {leaf}"],
                "site": "de" if number % 3 == 0 else "us",
                "search_volume": int(rng.integers(0, 1_000)),
                "bid": float(np.round(rng.uniform(0, 2), 3)),
                "active": bool(number % 4),
                "codes": [number % 7, 100 + number % 11],
            }
        )
    return Corpus([point_id(number) for number in range(count)], unit_vectors(count, seed), payloads)
