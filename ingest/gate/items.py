"""The gate's queries: a fixed sample of the items of `gate_items`, or keyphrases that stand in for them."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keydistill.ingest.filters import Query, parent_path, spread
from keydistill.ingest.snapshot import Snapshot, SnapshotProfile, profile
from keydistill.retrieval import Item, read_items
from keydistill.settings import Settings
from keydistill.tables import Conventions, RejectLog

# Least number of keyphrases to sample, however few stand in for items: they are the pool of the check on the dimension.
_POOL_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class GateItems:
    """The queries of the gate, and what their answers are compared with.

    Attributes:
        queries: The queries, in a fixed order.
        from_file: Whether they are items; otherwise keyphrases stand in for them, and their own text is no answer.
        about: Sentence on the queries, for the report.
        min_volume: Least search volume in filters: the median of the inventory's.
        pool: Keyphrases of the inventory, chosen by a fixed seed.
        profile: Profile of the snapshot.
    """

    queries: tuple[Query, ...]
    from_file: bool
    about: str
    min_volume: int | None
    pool: tuple[str, ...]
    profile: SnapshotProfile


def gate_items(settings: Settings, snapshot: Snapshot, fields: Sequence[str] = ()) -> GateItems:
    """The same items for the same file or snapshot, whatever the order of the file.

    Args:
        settings: Settings with the file of items, and their number.
        snapshot: Snapshot whose keyphrases stand in where there is no file.
        fields: Free fields that a student reads, as far as the file has them.

    Raises:
        InputError: The file of items cannot be read.
    """
    snapshot_profile = profile(snapshot, max(settings.gate_sample, _POOL_ROWS))
    pool = tuple(dict.fromkeys(row["keyphrase"] for row in snapshot_profile.sample))
    if settings.gate_items is None:
        queries = tuple(spread(snapshot_profile.queries(), settings.gate_sample))
        about = (
            f"{len(queries):,} keyphrases of the inventory stand in for items: setting gate_items names no file of "
            "items; their own text does not count as an answer"
        )
        return GateItems(queries, False, about, snapshot_profile.median_volume, pool, snapshot_profile)
    rejects = RejectLog()
    sampled = heapq.nsmallest(
        settings.gate_sample, _items(settings.gate_items, rejects, fields, Conventions.of(settings)), key=_place
    )
    queries = tuple(
        Query(item.item_id, item.title, item.site, item.category, parent_path(item.category), item.fields)
        for item in sampled
    )
    refused = f", {rejects.count:,} rows of which were no items" if rejects.count else ""
    about = f"{len(queries):,} items of {settings.gate_items}{refused}"
    return GateItems(queries, True, about, snapshot_profile.median_volume, pool, snapshot_profile)


def _items(file: Path, rejects: RejectLog, fields: Sequence[str], conventions: Conventions) -> Iterator[Item]:
    for batch in read_items([file], rejects, fields=fields, conventions=conventions):
        yield from batch


def _place(item: Item) -> tuple[str, str]:
    # A random order that follows from the id alone: another order of the file, or more items, hardly change the sample.
    return hashlib.sha256(item.item_id.encode()).hexdigest(), item.item_id
