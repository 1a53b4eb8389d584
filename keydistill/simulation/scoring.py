"""How good recommendations are by the truth that a simulation knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True)
class Score:
    """Means over items at a cut-off k.

    Attributes:
        items: Items that have at least one relevant keyphrase; the others count nowhere.
        precision: Relevant ones among the first k, by k.
        recall: Relevant ones among the first k, by all relevant ones of the item.
        best_recall: What `recall` would be at the most: an item with more than k relevant ones cannot reach 1.
        best_precision: What `precision` would be at the most: nor can an item with fewer.
    """

    items: int
    precision: float
    recall: float
    best_recall: float
    best_precision: float


def read_truth(path: Path) -> dict[str, set[str]]:
    """Item id to its relevant keyphrases, from `truth.parquet`."""
    truth: dict[str, set[str]] = {}
    for batch in pq.ParquetFile(path).iter_batches(columns=["item_id", "keyphrase"]):
        pairs = zip(batch.column("item_id").to_pylist(), batch.column("keyphrase").to_pylist(), strict=True)
        for item_id, keyphrase in pairs:
            truth.setdefault(item_id, set()).add(keyphrase)
    return truth


def score(truth: Mapping[str, set[str]], recommended: Mapping[str, Sequence[str]], k: int) -> Score:
    """Score ranked keyphrases per item.

    Args:
        truth: Item id to its relevant keyphrases.
        recommended: Item id to keyphrases, best first; an item that is missing got none.
        k: Cut-off.

    >>> score({"a": {"x", "y"}}, {"a": ["x", "z"]}, k=2)
    Score(items=1, precision=0.5, recall=0.5, best_recall=1.0, best_precision=1.0)
    """
    items = [item_id for item_id, relevant in truth.items() if relevant]
    hits = [len(truth[item_id].intersection(list(recommended.get(item_id, ()))[:k])) for item_id in items]
    relevant = [len(truth[item_id]) for item_id in items]
    count = max(1, len(items))
    return Score(
        items=len(items),
        precision=sum(hits) / (k * count),
        recall=sum(hit / of for hit, of in zip(hits, relevant, strict=True)) / count,
        best_recall=sum(min(k, of) / of for of in relevant) / count,
        best_precision=sum(min(k, of) for of in relevant) / (k * count),
    )
