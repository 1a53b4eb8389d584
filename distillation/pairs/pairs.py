"""Files of pairs, item and keyphrase, that are to be judged or scored: CSV, JSONL or Parquet, streamed."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from keydistill.distillation.signals import MAX_KEYPHRASE_CHARS, pair_columns, read_items
from keydistill.tables import (
    USUAL,
    Columns,
    Conventions,
    RawBatch,
    Reason,
    RejectedValueError,
    RejectLog,
    RowProblems,
    is_missing,
    leaf_category,
    read_valid,
    text_cell,
)

PAIR_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("title", pa.string(), nullable=False),
        pa.field("category_path", pa.string()),
    ]
)


class _Item(NamedTuple):
    title: str
    category_path: str | None
    site: str | None


# Items by site and id, and by id alone.
_Items = dict[tuple[str | None, str], _Item]
# Stands for an id that several sites have.
_SEVERAL = _Item("", None, None)


def read_pairs(
    files: Sequence[Path],
    items: Path | None = None,
    rejects: RejectLog | None = None,
    *,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    conventions: Conventions = USUAL,
) -> Iterator[pa.Table]:
    """Tables of pairs by `PAIR_SCHEMA`, in the order of the files.

    Columns: `item_id`, `keyphrase`, and `title`, optionally `category_path` ("A > B > C") and `site`; others are
    ignored. What a row leaves empty comes from the items file, which is kept in memory: that grows with the items and
    not with the pairs. Keyphrases come normalised, as an inventory's.

    Args:
        files: CSV, JSONL or Parquet files of pairs.
        items: File with `item_id`, `title`, and optionally `category_path` and `site`; `title` may then be missing.
        rejects: Log of the rows that are no pairs, and of the rows of the items file that are no items.
        max_keyphrase_chars: A longer normalised keyphrase is rejected.
        conventions: What stands for nothing in a cell.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    rejects = RejectLog() if rejects is None else rejects
    known_items = None if items is None else _items_of(items, rejects, conventions)
    required = ("item_id", "keyphrase") if known_items is not None else ("item_id", "keyphrase", "title")
    validate = partial(_columns, items=known_items, max_keyphrase_chars=max_keyphrase_chars)
    return read_valid(files, PAIR_SCHEMA, validate, rejects, required=required, conventions=conventions)


def _columns(batch: RawBatch, problems: RowProblems, *, items: _Items | None, max_keyphrase_chars: int) -> Columns:
    columns = {
        **pair_columns(batch, problems, max_keyphrase_chars),
        "title": problems.parsed("title", batch.columns["title"], _title_or_none),
        "category_path": problems.parsed("category_path", batch.columns["category_path"], _path_or_none),
    }
    for place, item_id in enumerate(columns["item_id"]):
        titled = columns["title"][place] is not None
        if place in problems or (titled and items is None):
            continue
        try:
            item = _find(items, item_id, columns["site"][place])
        except RejectedValueError as problem:
            if not titled:
                problems.add(place, "title" if items is None else "item_id", problem, item_id)
            continue
        for name in _Item._fields:
            if columns[name][place] is None:
                columns[name][place] = getattr(item, name)
    return columns


def _items_of(path: Path, rejects: RejectLog, conventions: Conventions) -> _Items:
    items: _Items = {}
    for table in read_items([path], rejects, conventions=conventions):
        for row in zip(*(table[name].to_pylist() for name in ("item_id", *_Item._fields)), strict=True):
            item = _Item(*row[1:])
            items[item.site, row[0]] = item
            anywhere = items.setdefault((None, row[0]), item)
            if anywhere.site != item.site:
                items[None, row[0]] = _SEVERAL
    return items


def _find(items: _Items | None, item_id: str, site: str | None) -> _Item:
    """The item that a row means.

    Raises:
        RejectedValueError: There is none, or the row does not say which one.
    """
    if items is None:
        raise RejectedValueError(Reason.EMPTY, "is empty; expected text, or an items file that has it")
    item = items.get((site, item_id)) or items.get((None, item_id))
    if item is _SEVERAL and site is None:
        raise RejectedValueError(Reason.UNKNOWN_REFERENCE, "is on several sites in the items file; name the site")
    if item is None or item is _SEVERAL or (None not in (site, item.site) and item.site != site):
        raise RejectedValueError(Reason.UNKNOWN_REFERENCE, "is not in the items file, and the row has no title")
    return item


def _title_or_none(value: object) -> str | None:
    try:
        return text_cell(value)
    except RejectedValueError as problem:
        if problem.reason is Reason.EMPTY:
            return None
        raise


def _path_or_none(value: object) -> str | None:
    return leaf_category(None, None if is_missing(value) else value)
