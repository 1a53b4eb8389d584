"""What a batch asks for, and what became of it."""

from dataclasses import dataclass
from pathlib import Path

from keydistill.retrieval.item_filters import MatchCategory
from keydistill.retrieval.lists import ListOptions


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """The same question for every item.

    Attributes:
        limit: Most keyphrases per item.
        match_category: Whether a keyphrase must belong to the item's leaf category or to its parent.
        min_search_volume: Least search volume of a keyphrase.
        options: What the lists are made of the nearest keyphrases by; None takes them as they are.
    """

    limit: int = 10
    match_category: MatchCategory = "none"
    min_search_volume: int | None = None
    options: ListOptions | None = None


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Summary of `recommend_file`.

    Attributes:
        collection: The collection that answered, from the first item to the last.
        items: Number of items.
        reused: Number of them that an interrupted call before this one had answered.
        rejected: Rows of the files that were no items, or no pairs to exclude.
        recommendations: Number of keyphrases.
        short: Number of items that got fewer keyphrases than the limit.
        repeated: Number of items whose site and id an earlier one has.
        rejects_file: File with the rows that were rejected; None where there were none.
        seconds: Time that it took, loading included.
        items_per_second: Items that this call answered, by the time after loading; 0 where it answered none.
        peak_bytes: Most memory that the process held, or the largest of several ones.
        hints: What looks misread, a sentence each.
    """

    collection: str
    items: int
    reused: int
    rejected: int
    recommendations: int
    short: int
    repeated: int
    rejects_file: Path | None
    seconds: float
    items_per_second: float
    peak_bytes: int
    hints: tuple[str, ...] = ()
