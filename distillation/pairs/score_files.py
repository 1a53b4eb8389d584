"""Files of scores that the assistant gave, read back."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from keydistill.distillation.signals import MAX_KEYPHRASE_CHARS
from keydistill.tables import (
    USUAL,
    Columns,
    Conventions,
    RawBatch,
    Reason,
    RejectedValueError,
    RejectLog,
    RowProblems,
    id_cell,
    keyphrase_cell,
    label_cell,
    number_cell,
    read_valid,
)

_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
    ]
)


def load_scores(
    files: Sequence[Path],
    rejects: RejectLog,
    *,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    conventions: Conventions = USUAL,
) -> pa.Table:
    """All rows: `item_id`, `keyphrase`, `site`, `score`, as `score_pairs` writes them; other columns are ignored.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    validate = partial(_columns, max_keyphrase_chars=max_keyphrase_chars)
    required = ("item_id", "keyphrase", "score")
    tables = read_valid(files, _SCHEMA, validate, rejects, required=required, conventions=conventions)
    return pa.concat_tables([_SCHEMA.empty_table(), *tables])


def _columns(batch: RawBatch, problems: RowProblems, *, max_keyphrase_chars: int) -> Columns:
    cells = batch.columns
    keyphrase = partial(keyphrase_cell, max_chars=max_keyphrase_chars)
    return {
        "item_id": problems.parsed("item_id", cells["item_id"], id_cell),
        "keyphrase": problems.parsed("keyphrase", cells["keyphrase"], keyphrase),
        "site": problems.parsed("site", cells["site"], label_cell),
        "score": problems.parsed("score", cells["score"], _probability),
    }


def _probability(value: object) -> float:
    number = number_cell(value, 0, 1)
    if number is None:
        raise RejectedValueError(Reason.EMPTY, "is empty; expected a probability")
    return number
