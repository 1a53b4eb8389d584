"""Items from CSV, JSONL or Parquet files, streamed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keydistill.tables import (
    USUAL,
    Conventions,
    RawBatch,
    RejectedValueError,
    RejectLog,
    RowProblems,
    id_cell,
    is_missing,
    label_cell,
    leaf_category,
    open_source,
    read_rows,
    text_cell,
)

COLUMNS = ("item_id", "title", "category_path", "category_id", "site")


@dataclass(frozen=True, slots=True)
class Item:
    """A seller's listing; `category` is the id of its leaf category, as in the inventory."""

    item_id: str
    title: str
    category: str | None = None
    site: str | None = None


def read_items(files: Sequence[Path], rejects: RejectLog, *, conventions: Conventions = USUAL) -> Iterator[list[Item]]:
    """Batches of items; a row without an id or a title goes to `rejects`.

    Columns: `item_id`, `title`, and optionally `category_path` ("A > B > C") or `category_id`, and `site`. Others are
    ignored.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    for file in files:
        with open_source(file) as source:
            batches = read_rows(
                source, known=COLUMNS, required=("item_id", "title"), extras=False, conventions=conventions
            )
            for batch in batches:
                problems = RowProblems(batch, str(file))
                parsed = [
                    problems.parsed("item_id", batch.columns["item_id"], id_cell),
                    problems.parsed("title", batch.columns["title"], text_cell),
                    _categories(batch, problems),
                    problems.parsed("site", batch.columns["site"], label_cell),
                ]
                usable_places = problems.settle(rejects)
                rows = zip(*parsed, strict=True)
                yield [Item(*row) for place, row in enumerate(rows) if usable_places is None or place not in problems]


def _categories(batch: RawBatch, problems: RowProblems) -> list[str | None]:
    categories: list[str | None] = []
    cells = zip(batch.columns["category_id"], batch.columns["category_path"], strict=True)
    for place, (category_id, path) in enumerate(cells):
        try:
            categories.append(
                leaf_category(None if is_missing(category_id) else category_id, None if is_missing(path) else path)
            )
        except RejectedValueError as problem:
            categories.append(None)
            problems.add(place, "category_path", problem, path)
    return categories
