"""What a point takes on the disk and in memory, part by part, by measured figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from keydistill.capacity.figures import Figures, Trial
from keydistill.settings import Component, Quantization, Tier
from keydistill.vectorstore import QUANTIZED_BITS

BYTES_PER_NUMBER = 4
# A build flushes an embedded collection so often; then its log is cut, by whole files of 32 MiB, to one or two of them.
FLUSHED_POINTS = 50_000
_LOG_FILES_BYTES = 1.5 * (32 << 20)
# Memory of an id (https://qdrant.tech/documentation/guides/capacity-planning/).
_ID_BYTES = 52.0
# Beside its codes a quantized vector has some bytes of its own, such as an offset (benchmarks/quantization.py).
_BESIDE_CODES: Mapping[Quantization, float] = {"int8": 4, "turbo4": 12, "turbo2": 13, "binary": 3}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a collection: bytes per point, and its tier.

    Attributes:
        name: Name of the part, as in the setting `placement`.
        disk: Bytes per point on the disk.
        memory: Bytes per point that queries want in memory; a cold part counts for nothing.
        tier: Tier in force.
    """

    name: str
    disk: float
    memory: float
    tier: Tier


def quantized_bytes(dimension: int, quantization: Quantization) -> float:
    """Bytes per point of the quantized vectors."""
    if quantization == "none":
        return 0.0
    return dimension * QUANTIZED_BITS[quantization] / 8 + _BESIDE_CODES[quantization]


# As the engines place what is not placed; beside quantized vectors the originals are cold.
_TIERS: Mapping[Component, Tier] = {
    "vectors": "cold",
    "quantized": "pinned",
    "graph": "cached",
    "payload": "cold",
    "indexes": "pinned",
    "ids": "pinned",
}


def parts(
    figures: Figures,
    dimension: int,
    quantization: Quantization,
    placement: Mapping[Component, Tier],
    hnsw_m: int,
    payload_bytes: float | None,
) -> list[Part]:
    """The parts of a collection; of the payload what was measured, or `payload_bytes` on the disk per point."""
    quantized_then = quantized_bytes(figures.trials[-1].dimension, figures.quantization)
    grown: dict[Component, float] = {name: slope(figures, partial(_on_disk, name)) for name in _TIERS}
    disk: dict[Component, float] = {
        **grown,
        "vectors": dimension * BYTES_PER_NUMBER,
        "quantized": quantized_bytes(dimension, quantization),
        "graph": grown["graph"] * hnsw_m / figures.hnsw_m,
        "payload": grown["payload"] if payload_bytes is None else payload_bytes,
    }
    # Pinned indexes and ids are held unpacked in the process's own memory, beside the quantized vectors.
    own = max(0.0, slope(figures, lambda trial: trial.reader.get("own", 0)) - quantized_then)
    ids = min(own, _ID_BYTES)
    hot = {**disk, "ids": ids, "indexes": own - ids + slope(figures, lambda trial: trial.reader.get("indexes", 0))}
    tiers = dict(_TIERS) | dict(placement)
    if quantization == "none" and "vectors" not in placement:
        tiers["vectors"] = "cached"
    return [Part(name, disk[name], 0.0 if tiers[name] == "cold" else hot[name], tiers[name]) for name in _TIERS]


def _on_disk(name: str, trial: Trial) -> float:
    return trial.disk.get(name, 0)


def fixed_memory(figures: Figures) -> float:
    """Memory of a reader that does not grow with its points: the process, what the engine keeps, and whole pages."""
    large = figures.trials[-1]
    fixed = 0.0
    for name in ("own", "graph", "indexes", "ids"):
        per_point = slope(figures, partial(_resident, name))
        fixed += max(0.0, large.reader.get(name, 0) - per_point * large.points)
    return max(float(figures.reader_base_bytes), fixed)


def _resident(name: str, trial: Trial) -> float:
    return trial.reader.get(name, 0)


def log_bytes(figures: Figures, points: int, dimension: int) -> float:
    """Bytes of the log that an embedded collection keeps: what came after the last flush, and the files before it."""
    small = figures.trials[0]
    beside = max(0.0, small.disk.get("log", 0) / small.points - small.dimension * BYTES_PER_NUMBER)
    per_point = dimension * BYTES_PER_NUMBER + beside
    return min(points * per_point, _LOG_FILES_BYTES + points % FLUSHED_POINTS * per_point)


def optimiser_bytes(figures: Figures, points: int, dimension: int, quantization: Quantization) -> float:
    """Memory of the process that builds the index of an embedded collection, without pages of files."""
    large = figures.trials[-1]
    per_point = slope(figures, lambda trial: trial.optimiser_bytes)
    beside = per_point - quantized_bytes(large.dimension, figures.quantization)
    fixed = max(0.0, large.optimiser_bytes - per_point * large.points)
    return fixed + points * (quantized_bytes(dimension, quantization) + max(0.0, beside))


def slope(figures: Figures, value: Callable[[Trial], float]) -> float:
    """The growth of a value per point, from the smallest trial to the largest."""
    small, large = figures.trials[0], figures.trials[-1]
    return max(0.0, (value(large) - value(small)) / (large.points - small.points))
