"""Profile of a snapshot, taken in one pass: how many rows each category and site has, and a fixed sample of rows."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keydistill.ingest.filters import Query, leaf_and_parent
from keydistill.ingest.snapshot.snapshot import Snapshot

_SAMPLED = ("point_id", "keyphrase", "site", "category_ids", "search_volume")


@dataclass(frozen=True, slots=True)
class SnapshotProfile:
    """Counts of what a snapshot holds, and a sample of its rows.

    Attributes:
        rows: Number of rows of the snapshot.
        categories: Categories, ancestors included, each with its number of rows.
        sites: Sites, each with its number of rows.
        least_volume: The smallest search volume; None where no row has one.
        median_volume: Median search volume of the sample; None where no row of it has one.
        sample: Rows of the sample, in the order of the snapshot.
    """

    rows: int
    categories: Counter[str]
    sites: Counter[str]
    least_volume: int | None
    median_volume: int | None
    sample: tuple[dict[str, Any], ...]

    def queries(self) -> list[Query]:
        """The sampled keyphrases as if they were items."""
        return [
            Query(
                row["point_id"],
                row["keyphrase"],
                row["site"],
                *leaf_and_parent(row["category_ids"], self.categories),
            )
            for row in self.sample
        ]


def profile(snapshot: Snapshot, sample: int, seed: int = 0) -> SnapshotProfile:
    """Profile a snapshot by reading it once; memory does not grow with it.

    Args:
        snapshot: The snapshot to profile.
        sample: Most rows to sample; the same rows and seed make the same sample, whatever the size of parts.
        seed: Seed of the sample.
    """
    total = snapshot.summary.rows
    chosen = np.sort(np.random.default_rng(seed).choice(total, size=min(sample, total), replace=False))
    categories: Counter[str] = Counter()
    sites: Counter[str] = Counter()
    least: int | None = None
    sampled: list[dict[str, Any]] = []
    first = 0
    for part, rows in snapshot.tables():
        categories.update(_counted(pc.list_flatten(rows["category_ids"])))
        sites.update(_counted(rows["site"]))
        smallest = pc.min(rows["search_volume"]).as_py()
        if smallest is not None:
            least = smallest if least is None else min(least, smallest)
        inside = chosen[(chosen >= first) & (chosen < first + part.rows)] - first
        sampled += rows.select(_SAMPLED).take(pa.array(inside)).to_pylist()
        first += part.rows
    volumes = [row["search_volume"] for row in sampled if row["search_volume"] is not None]
    median = int(np.median(volumes)) if volumes else None
    return SnapshotProfile(total, categories, sites, least, median, tuple(sampled))


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(column.drop_null() if isinstance(column, pa.ChunkedArray) else column)
    return {entry["values"]: entry["counts"] for entry in counts.to_pylist() if entry["values"] is not None}
