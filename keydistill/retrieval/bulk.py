"""Recommendations for a whole file of items."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keydistill.files import check_no_input_is_replaced
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.retrieval.items import Item, read_items
from keydistill.retrieval.output import SCHEMA, rows_of
from keydistill.retrieval.retriever import Retriever
from keydistill.tables import PATH_SEPARATOR, USUAL, CategoryHints, Conventions, open_table, rejects_file
from keydistill.vectorstore import Filter, keyphrase_filter

MatchCategory = Literal["none", "leaf", "parent"]

# Number of items per forward pass and batched query.
_BATCH_ITEMS = 256


@dataclass(frozen=True, slots=True)
class BulkSummary:
    """Summary of `recommend_file`.

    Attributes:
        items: Number of items.
        rejected: Number of rows that were no items.
        recommendations: Number of keyphrases for all items together.
        short: Number of items that got fewer keyphrases than `limit`.
        repeated: Number of items whose site and id an earlier one has.
        rejects_file: File of the rows that were no items; None where there are none.
        hints: What looks misread, a sentence each.
    """

    items: int
    rejected: int
    recommendations: int
    short: int
    repeated: int
    rejects_file: Path | None
    hints: tuple[str, ...] = ()


def item_filter(item: Item, *, match_category: MatchCategory = "none", min_search_volume: int | None = None) -> Filter:
    """The filter for one item: its site, and its category or that one's parent, where it has them."""
    category = item.category if match_category != "none" else None
    if category is not None and match_category == "parent":
        category = category.rpartition(PATH_SEPARATOR)[0] or category
    return keyphrase_filter(category=category, site=item.site, min_search_volume=min_search_volume)


def recommend_file(
    retriever: Retriever,
    files: Sequence[Path],
    out: Path,
    *,
    limit: int = 10,
    match_category: MatchCategory = "none",
    min_search_volume: int | None = None,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> BulkSummary:
    """Read items, recommend, write; memory grows by a hash per item, and no more.

    Args:
        retriever: The live collection with its student.
        files: Files of items, as `read_items` reads them.
        out: CSV, JSONL or Parquet file. Rows that were no items go to a `.rejects.parquet` beside it.
        limit: Most keyphrases per item.
        match_category: Whether a keyphrase must belong to the item's leaf category or to its parent.
        min_search_volume: Least search volume of a keyphrase.
        conventions: How the files are read, and how CSV is written.
        progress: Advanced by the number of items done.

    Raises:
        InputError: A file cannot be read, or `out` is one of them or has an unknown extension.
    """
    check_no_input_is_replaced(out, files)
    items = recommendations = short = 0
    hints, ids = CategoryHints(), set[int]()
    rejects_path = out.with_name(out.name + ".rejects.parquet")
    with rejects_file(rejects_path) as rejects, open_table(out, SCHEMA, conventions) as write:
        for batch in _rebatched(read_items(files, rejects, conventions=conventions)):
            for item in batch:
                hints.see([] if item.category is None else [item.category])
                ids.add(hash((item.site, item.item_id)))
            filters = [
                item_filter(item, match_category=match_category, min_search_volume=min_search_volume) for item in batch
            ]
            recommended = retriever.recommend(
                [item.title for item in batch], limit, filters, categories=[item.category for item in batch]
            )
            write(rows_of(batch, recommended))
            items += len(batch)
            recommendations += sum(map(len, recommended))
            short += sum(len(hits) < limit for hits in recommended)
            progress.advance(len(batch))
    return BulkSummary(
        items=items,
        rejected=rejects.count,
        recommendations=recommendations,
        short=short,
        repeated=items - len(ids),
        rejects_file=rejects_path if rejects.count else None,
        hints=hints.lines(),
    )


def _rebatched(batches: Iterable[list[Item]]) -> Iterator[list[Item]]:
    for batch in batches:
        for start in range(0, len(batch), _BATCH_ITEMS):
            yield batch[start : start + _BATCH_ITEMS]
