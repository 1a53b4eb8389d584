"""Items from CSV, JSONL or Parquet files, streamed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tables import Reason, Reject, RejectedValueError, RejectLog, leaf_category, open_source, read_rows, shown

COLUMNS = ("item_id", "title", "category_path", "category_id", "site")


@dataclass(frozen=True, slots=True)
class Item:
    """A seller's listing; `category` is the id of its leaf category, as in the inventory."""

    item_id: str
    title: str
    category: str | None = None
    site: str | None = None


def read_items(files: Sequence[Path], rejects: RejectLog) -> Iterator[list[Item]]:
    """Batches of items; a row without an id or a title goes to `rejects`.

    Columns: `item_id`, `title`, and optionally `category_path` ("A > B > C") or `category_id`, and `site`. Others are
    ignored.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    for file in files:
        with open_source(file) as source:
            for batch in read_rows(source, known=COLUMNS, required=("item_id", "title")):
                for malformed in batch.malformed:
                    rejects.add(malformed.reject(str(file)))
                items = []
                lines: Sequence[int | None] = batch.lines or [None] * len(batch.rows)
                cells = zip(batch.rows, lines, *(batch.columns[name] for name in COLUMNS), strict=True)
                for row, line, *values in cells:
                    try:
                        items.append(_item(*values))
                    except _BadCellError as problem:
                        value = shown(values[COLUMNS.index(problem.column)])
                        rejects.add(Reject(str(file), row, line, problem.column, problem.reason, problem.detail, value))
                yield items


class _BadCellError(Exception):
    def __init__(self, column: str, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.column = column
        self.reason = reason
        self.detail = detail


def _item(item_id: object, title: object, category_path: object, category_id: object, site: object) -> Item:
    try:
        category = leaf_category(category_id, category_path)
    except RejectedValueError as problem:
        raise _BadCellError("category_path", problem.reason, problem.detail) from None
    return Item(_text("item_id", item_id), _text("title", title), category, None if site in (None, "") else str(site))


def _text(column: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        raise _BadCellError(column, Reason.EMPTY, "is empty; expected text")
    if not isinstance(value, str):
        raise _BadCellError(column, Reason.NOT_TEXT, f"is {type(value).__name__}; expected text")
    if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _BadCellError(column, Reason.BAD_ENCODING, "is not valid UTF-8")
    text = " ".join(value.split())
    if not text:
        raise _BadCellError(column, Reason.EMPTY, "is only white space; expected text")
    return text
