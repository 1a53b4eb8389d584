"""Signals from CSV, TSV, JSONL and Parquet files: each row is validated, or rejected with a reason."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from keydistill.distillation.signals.merging import merged
from keydistill.distillation.signals.schemas import CLICKS, EXACT, ITEMS, JUDGMENTS, SEARCH_RELEVANCE, items_schema
from keydistill.distillation.signals.validation import click_columns, item_columns, judgment_columns, search_columns
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.tables import USUAL, Conventions, RejectLog, read_valid

MAX_KEYPHRASE_CHARS = 200
_PAIR = ("item_id", "keyphrase")


def read_items(
    files: Sequence[Path],
    rejects: RejectLog,
    *,
    fields: Sequence[str] = (),
    optional_fields: Sequence[str] = (),
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> Iterator[pa.Table]:
    """Items in batches, by `ITEMS`: `item_id`, `title`, and optionally `category_path` ("A > B > C") and `site`.

    Args:
        files: Files to read, in this order.
        rejects: Log that takes the rows that cannot be used.
        fields: Further columns, as text, which follow those of `ITEMS`; the last file must have them.
        optional_fields: The same for columns that no file need have.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Advanced by the number of rows read after each batch.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    names = list(dict.fromkeys([*fields, *optional_fields]))
    schema = items_schema(names)
    validate = partial(item_columns, fields=names)
    for some, required in ((files[:-1], ()), (files[-1:], fields)):
        yield from read_valid(
            some,
            schema,
            validate,
            rejects,
            required=("item_id", "title", *required),
            conventions=conventions,
            progress=progress,
        )


def free_fields(items: pa.Table) -> list[str]:
    """The names of the free fields in a table of items: its columns beyond `ITEMS`."""
    return [name for name in items.column_names if name not in ITEMS.names]


def read_clicks(
    files: Sequence[Path],
    rejects: RejectLog,
    *,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> Iterator[pa.Table]:
    """Clicks in batches, by `CLICKS`: how often a pair was shown at a position (from 1), and clicked there.

    A row without a position is a pair that was shown nobody knows where. For the arguments see `read_items`.

    Raises:
        InputError: A file is damaged or lacks `item_id`, `keyphrase`, `impressions` or `clicks`.
    """
    required = ("item_id", "keyphrase", "impressions", "clicks")
    validate = partial(click_columns, max_keyphrase_chars=max_keyphrase_chars)
    return read_valid(files, CLICKS, validate, rejects, required=required, conventions=conventions, progress=progress)


def read_search_relevance(
    files: Sequence[Path],
    rejects: RejectLog,
    *,
    threshold: float | None = None,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> Iterator[pa.Table]:
    """The search engine's opinion of pairs, in batches, by `SEARCH_RELEVANCE`: `passed`, `score`, or both.

    Args:
        files: Files to read, in this order.
        rejects: Log that takes the rows that cannot be used.
        threshold: Score from which on a pair passes where the file does not say so; without a threshold that stays open
            (None).
        max_keyphrase_chars: Most characters of a keyphrase; a longer one is rejected.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Advanced by the number of rows read after each batch.

    Raises:
        InputError: A file is damaged or lacks `item_id` or `keyphrase`.
    """
    validate = partial(search_columns, threshold=threshold, max_keyphrase_chars=max_keyphrase_chars)
    return read_valid(
        files, SEARCH_RELEVANCE, validate, rejects, required=_PAIR, conventions=conventions, progress=progress
    )


def read_judgments(
    files: Sequence[Path],
    rejects: RejectLog,
    *,
    relevant_grade: int = EXACT,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    conventions: Conventions = USUAL,
    progress: Progress = NO_PROGRESS,
) -> Iterator[pa.Table]:
    """Judgments in batches, by `JUDGMENTS`.

    A row has a `label` (yes or no), a `grade` (0 to 3, or E, S, C, I) or a `probability` of yes. Where there is no
    label it comes from the grade, otherwise from the probability (from 0.5 on: yes). A letter in `label` is a grade.

    Args:
        files: Files to read, in this order.
        rejects: Log that takes the rows that cannot be used.
        relevant_grade: Grade from which on the label is yes, where the file gives no label.
        max_keyphrase_chars: Most characters of a keyphrase; a longer one is rejected.
        conventions: What stands for nothing in a cell, and how numbers are written.
        progress: Advanced by the number of rows read after each batch.

    Raises:
        InputError: A file is damaged or lacks `item_id` or `keyphrase`.
    """
    validate = partial(judgment_columns, relevant_grade=relevant_grade, max_keyphrase_chars=max_keyphrase_chars)
    return read_valid(files, JUDGMENTS, validate, rejects, required=_PAIR, conventions=conventions, progress=progress)


def load_items(files: Sequence[Path], rejects: RejectLog, **options: Any) -> pa.Table:
    """All items as one table, the last row of each (site, item_id); see `read_items`."""
    return merged("items", read_items(files, rejects, **options))


def load_clicks(files: Sequence[Path], rejects: RejectLog, **options: Any) -> pa.Table:
    """All clicks as one table, summed by pair and position; see `read_clicks`.

    Memory grows with the number of different pairs and positions, not with the rows of the files.
    """
    return merged("clicks", read_clicks(files, rejects, **options))


def load_search_relevance(files: Sequence[Path], rejects: RejectLog, **options: Any) -> pa.Table:
    """All search relevance as one table, the last row of each pair; see `read_search_relevance`."""
    return merged("search_relevance", read_search_relevance(files, rejects, **options))


def load_judgments(files: Sequence[Path], rejects: RejectLog, **options: Any) -> pa.Table:
    """All judgments as one table, the last row of each pair, judge and prompt version; see `read_judgments`."""
    return merged("judgments", read_judgments(files, rejects, **options))
