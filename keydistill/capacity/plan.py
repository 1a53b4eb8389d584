"""What an inventory of a given size wants: memory, disk, shards, nodes and time.

The formulas, and where they come from, stand in docs/scaling.md.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from keydistill.capacity.figures import Figures
from keydistill.capacity.per_point import (
    Part,
    fixed_memory,
    log_bytes,
    optimiser_bytes,
    parts,
)
from keydistill.capacity.rebuild import Rebuild, simulate_rebuild
from keydistill.errors import SettingsError
from keydistill.settings import Component, Quantization, Settings, Tier

# Qdrant's advice for what grows, for segments that are being optimised, and for the system
# (https://qdrant.tech/documentation/guides/capacity-planning/).
HEADROOM = 1.2
# So that nodes can be added later without shards being split
# (https://qdrant.tech/documentation/guides/distributed_deployment/#choosing-the-right-number-of-shards).
SHARDS_PER_NODE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is planned for.

    Attributes:
        keyphrases: Number of keyphrases.
        dimension: Length of their vectors.
        engine: Engine that holds them.
        quantization: Quantization of their vectors.
        placement: Tiers of the parts that are not left to the engine.
        hnsw_m: Edges per node.
        shards: Number of shards; None: as many as the nodes want.
        replicas: Number of copies of each shard.
        workers: Number of workers that embed.
        part_rows: Rows of a part of the snapshot.
        changed_per_day: Number of keyphrases that are new or changed on a day.
        payload_bytes: Bytes of payload per keyphrase; None: as many as were measured.
        node_memory_bytes: Memory of a machine or node.
        node_disk_bytes: Disk of a machine or node; None: any.
        kills: Number of workers that are killed in the rebuild that is played through.
        lease_seconds: Time after which another worker gets the part of one that was killed.
    """

    keyphrases: int
    dimension: int
    engine: Literal["embedded", "server"] = "embedded"
    quantization: Quantization = "int8"
    placement: Mapping[Component, Tier] = field(default_factory=dict)
    hnsw_m: int = 16
    shards: int | None = None
    replicas: int = 1
    workers: int = 1
    part_rows: int = 10_000
    changed_per_day: int = 0
    payload_bytes: float | None = None
    node_memory_bytes: int
    node_disk_bytes: int | None = None
    kills: int = 0
    lease_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """The plan; sizes in bytes, times in seconds.

    Attributes:
        wanted: What it is for.
        parts: Bytes per keyphrase of each part of a collection.
        disk_bytes: One collection on the disk, once.
        memory_bytes: Memory that queries of one collection want, once.
        steady: "disk" and "memory" of all nodes together between rebuilds: what is live, and what is kept for a
            rollback.
        rebuild: The same while the next one is built.
        nodes: Number of nodes, or 1.
        shards: Number of shards.
        keyphrases_per_shard: Number of keyphrases of each.
        node_memory_bytes: Memory that each node wants, headroom included.
        node_disk_bytes: Disk that each node wants, headroom included.
        seconds: Time of a rebuild by its steps: snapshot, embed and write, optimise.
        worker_seconds: Time of embedding everything on one worker.
        played: The embedding, played through on the workers.
        sync_seconds: Time of a day's sync by its steps.
        builder_bytes: Memory of the process that builds an embedded collection's index.
    """

    wanted: Wanted
    parts: tuple[Part, ...]
    disk_bytes: float
    memory_bytes: float
    steady: Mapping[str, float]
    rebuild: Mapping[str, float]
    nodes: int
    shards: int
    keyphrases_per_shard: int
    node_memory_bytes: float
    node_disk_bytes: float
    seconds: Mapping[str, float]
    worker_seconds: float
    played: Rebuild
    sync_seconds: Mapping[str, float]
    builder_bytes: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, sizes as whole numbers."""
        values = asdict(self)
        for name in ("disk_bytes", "memory_bytes", "node_memory_bytes", "node_disk_bytes", "builder_bytes"):
            values[name] = round(values[name])
        for name in ("steady", "rebuild"):
            values[name] = {what: round(size) for what, size in values[name].items()}
        return values


def wanted_of(settings: Settings, keyphrases: int, dimension: int, **options: Any) -> Wanted:
    """What is planned for, by the settings and options; options that are None do not count.

    Raises:
        SettingsError: The options contradict each other.
    """
    from_settings = {
        "engine": settings.engine,
        "quantization": settings.quantization,
        "placement": settings.placement,
        "hnsw_m": settings.hnsw_m,
        "shards": settings.shards,
        "replicas": settings.replicas or 1,
        "part_rows": settings.part_rows,
        "lease_seconds": settings.lease_seconds,
    }
    given = {name: value for name, value in options.items() if value is not None}
    wanted = Wanted(keyphrases=keyphrases, dimension=dimension, **{**from_settings, **given})
    if wanted.engine == "embedded":
        for name, value in (("shards", wanted.shards or 1), ("replicas", wanted.replicas), ("workers", wanted.workers)):
            if value > 1:
                raise SettingsError(
                    f"{name} is {value}, and the embedded engine keeps a collection in one shard that one process "
                    "writes; plan with --engine server"
                )
    return wanted


def plan_capacity(wanted: Wanted, figures: Figures) -> Capacity:
    """Plan by measured figures. Machines are taken to be as fast as the one that was measured."""
    count, large = wanted.keyphrases, figures.trials[-1]
    all_parts = parts(
        figures, wanted.dimension, wanted.quantization, wanted.placement, wanted.hnsw_m, wanted.payload_bytes
    )
    fixed_disk = log_bytes(figures, count, wanted.dimension) if wanted.engine == "embedded" else 0.0
    disk = count * sum(part.disk for part in all_parts) + fixed_disk
    memory = count * sum(part.memory for part in all_parts) + fixed_memory(figures)
    # While it is optimised a collection is there as it was written, and as it will be.
    peak = max(1.0, large.peak_disk_bytes / max(1, sum(large.disk.values())))
    builder = optimiser_bytes(figures, count, wanted.dimension, wanted.quantization)
    in_rebuild = memory if wanted.engine == "server" else builder
    # A server keeps the collection for a rollback in memory too; embedded, nobody opens it.
    kept = memory if wanted.engine == "server" else 0.0
    steady = {"disk": 2 * disk * wanted.replicas, "memory": (memory + kept) * wanted.replicas}
    rebuild = {
        "disk": (2 + peak) * disk * wanted.replicas,
        "memory": (memory + kept + in_rebuild) * wanted.replicas,
    }
    needed_memory, needed_disk = rebuild["memory"] * HEADROOM, rebuild["disk"] * HEADROOM
    nodes = 1
    if wanted.engine == "server":
        by_disk = 1 if wanted.node_disk_bytes is None else math.ceil(needed_disk / wanted.node_disk_bytes)
        nodes = max(wanted.replicas, math.ceil(needed_memory / wanted.node_memory_bytes), by_disk)
    shards = wanted.shards or (1 if nodes == 1 else SHARDS_PER_NODE * nodes)
    per_shard = math.ceil(count / shards)
    part_seconds = _part_seconds(wanted, figures)
    played = simulate_rebuild(
        part_seconds,
        wanted.workers,
        kills=_kills(wanted, sum(part_seconds)),
        redelivery_seconds=wanted.lease_seconds,
    )
    per_index = large.optimise_seconds / (large.points * math.log(large.points))
    optimise = per_index * count * math.log(max(per_shard, 2)) * wanted.replicas / nodes
    return Capacity(
        wanted=wanted,
        parts=tuple(all_parts),
        disk_bytes=disk,
        memory_bytes=memory,
        steady=steady,
        rebuild=rebuild,
        nodes=nodes,
        shards=shards,
        keyphrases_per_shard=per_shard,
        node_memory_bytes=needed_memory / nodes,
        node_disk_bytes=needed_disk / nodes,
        seconds={
            "snapshot": count / figures.snapshot_rows_per_second,
            "embed and write": played.seconds,
            "optimise": optimise,
        },
        worker_seconds=sum(part_seconds),
        played=played,
        sync_seconds=_sync(wanted, figures, per_index * math.log(max(per_shard, 2))),
        builder_bytes=builder,
    )


def _part_seconds(wanted: Wanted, figures: Figures) -> list[float]:
    """Time of each part of the snapshot: while one window is written, the next is embedded."""
    tenths = figures.embedding.seconds_per_thousand
    write = figures.trials[-1].write_seconds / figures.trials[-1].points
    count = math.ceil(wanted.keyphrases / wanted.part_rows)
    rows = [wanted.part_rows] * (count - 1) + [wanted.keyphrases - (count - 1) * wanted.part_rows]
    return [
        size * max(tenths[min(len(tenths) - 1, number * len(tenths) // count)] / 1_000, write)
        for number, size in enumerate(rows)
    ]


def _kills(wanted: Wanted, seconds: float) -> list[float]:
    """Times of the kills, evenly over the time that the workers take undisturbed."""
    span = seconds / wanted.workers
    return [span * (number + 0.5) / wanted.kills for number in range(wanted.kills)]


def _sync(wanted: Wanted, figures: Figures, index_seconds: float) -> dict[str, float]:
    """Time of a day's sync by its steps: the whole inventory is read, what changed is embedded and written."""
    changed, measured = wanted.changed_per_day, figures.sync
    if not changed:
        return {}
    embed = changed / figures.embedding.keyphrases_per_second / wanted.workers
    steps = {"snapshot": wanted.keyphrases / figures.snapshot_rows_per_second, "embed": embed}
    if wanted.engine == "server":
        write = changed * figures.trials[-1].write_seconds / figures.trials[-1].points
        return {**steps, "write and index": (write + changed * index_seconds) * wanted.replicas}
    # Copies are as long as the disk takes: by the bytes of the vectors, which are most of them.
    grown = wanted.keyphrases * wanted.dimension / (measured.points * figures.trials[-1].dimension)
    return {
        **steps,
        "copy": measured.copy_seconds * grown,
        "write and index": measured.finish_seconds * changed / measured.changed,
    }
