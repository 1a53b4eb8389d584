"""Items from CSV, JSONL or Parquet files, streamed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keydistill.encoders import ItemFields
from keydistill.tables import (
    USUAL,
    Conventions,
    RawBatch,
    RejectedValueError,
    RejectLog,
    RowProblems,
    field_cell,
    id_cell,
    is_missing,
    label_cell,
    leaf_category,
    open_source,
    read_rows,
    text_cell,
)

COLUMNS = ("item_id", "title", "category_path", "category_id", "site", "fields")


@dataclass(frozen=True, slots=True)
class Item:
    """A seller's listing; `category` is the id of its leaf category, as in the inventory."""

    item_id: str
    title: str
    category: str | None = None
    site: str | None = None
    fields: ItemFields = field(default_factory=dict, hash=False)


def read_items(
    files: Sequence[Path], rejects: RejectLog, *, fields: Sequence[str] = (), conventions: Conventions = USUAL
) -> Iterator[list[Item]]:
    """Batches of items; a row without an id or a title goes to `rejects`.

    Columns: `item_id`, `title`, and optionally `category_path` ("A > B > C") or `category_id`, `site`, and the free
    fields that are named, which some students read, each as a column or in an object `fields`. Others are ignored.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    names = list(dict.fromkeys(name for name in fields if name not in COLUMNS))
    for file in files:
        with open_source(file) as source:
            batches = read_rows(
                source,
                known=(*COLUMNS, *names),
                required=("item_id", "title"),
                extras=False,
                conventions=conventions,
            )
            for batch in batches:
                problems = RowProblems(batch, str(file))
                parsed = [
                    problems.parsed("item_id", batch.columns["item_id"], id_cell),
                    problems.parsed("title", batch.columns["title"], text_cell),
                    _categories(batch, problems),
                    problems.parsed("site", batch.columns["site"], label_cell),
                ]
                parsed.append(_fields(batch, names, problems))
                usable_places = problems.settle(rejects)
                rows = zip(*parsed, strict=True)
                yield [Item(*row) for place, row in enumerate(rows) if usable_places is None or place not in problems]


def _fields(batch: RawBatch, names: Sequence[str], problems: RowProblems) -> list[dict[str, str | None]]:
    """The free fields of each row: columns of their own, or in an object `fields`, as services take them."""
    together = [cell if isinstance(cell, dict) else {} for cell in batch.columns["fields"]]
    texts = {
        name: problems.parsed(
            name,
            [
                own.get(name) if is_missing(cell) else cell
                for cell, own in zip(batch.columns[name], together, strict=True)
            ],
            field_cell,
        )
        for name in names
    }
    return [{name: column[place] for name, column in texts.items()} for place in range(len(together))]


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
