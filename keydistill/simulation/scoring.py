"""Scoring recommendations by the truth that a simulation knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True)
class Score:
    """Means over items at a cut-off k.

    Attributes:
        items: Number of items that have at least one relevant keyphrase; the others count nowhere.
        precision: Relevant keyphrases among the first k, divided by k.
        recall: Relevant keyphrases among the first k, divided by all relevant ones of the item.
        best_recall: The highest possible `recall`: an item with more than k relevant keyphrases cannot reach 1.
        best_precision: The highest possible `precision`: an item with fewer than k cannot reach 1 either.
    """

    items: int
    precision: float
    recall: float
    best_recall: float
    best_precision: float


def read_truth(path: Path) -> dict[str, set[str]]:
    """The relevant keyphrases of each item id, from `truth.parquet`."""
    truth: dict[str, set[str]] = {}
    for batch in pq.ParquetFile(path).iter_batches(columns=["item_id", "keyphrase"]):
        pairs = zip(batch.column("item_id").to_pylist(), batch.column("keyphrase").to_pylist(), strict=True)
        for item_id, keyphrase in pairs:
            truth.setdefault(item_id, set()).add(keyphrase)
    return truth


def score(truth: Mapping[str, set[str]], recommended: Mapping[str, Sequence[str]], k: int) -> Score:
    """Score ranked keyphrases per item.

    Args:
        truth: Relevant keyphrases of each item id.
        recommended: Keyphrases of each item id, best first; a missing item got none.
        k: Number of keyphrases per item that count.

    >>> score({"a": {"x", "y"}}, {"a": ["x", "z"]}, k=2)
    Score(items=1, precision=0.5, recall=0.5, best_recall=1.0, best_precision=1.0)
    """
    items = [item_id for item_id, relevant in truth.items() if relevant]
    hits = [len(truth[item_id].intersection(list(recommended.get(item_id, ()))[:k])) for item_id in items]
    totals = [len(truth[item_id]) for item_id in items]
    count = max(1, len(items))
    return Score(
        items=len(items),
        precision=sum(hits) / (k * count),
        recall=sum(hit / total for hit, total in zip(hits, totals, strict=True)) / count,
        best_recall=sum(min(k, total) / total for total in totals) / count,
        best_precision=sum(min(k, total) for total in totals) / (k * count),
    )
