"""Files of scores that the assistant gave, read back."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow as pa

from distillation.signals.readers import MAX_KEYPHRASE_CHARS
from tables import (
    Reason,
    RejectedValueError,
    RejectLog,
    RowProblems,
    id_cell,
    keyphrase_cell,
    label_cell,
    number_cell,
    open_source,
    read_rows,
)

_COLUMNS = ("item_id", "keyphrase", "site", "score")
_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
    ]
)


def load_scores(
    files: Sequence[Path], rejects: RejectLog, *, max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS
) -> pa.Table:
    """All rows: `item_id`, `keyphrase`, `site`, `score`, as `score_pairs` writes them; other columns are ignored.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    tables = [_SCHEMA.empty_table()]
    for file in files:
        with (
            open_source(file) as source,
            closing(
                read_rows(source, known=_COLUMNS, required=("item_id", "keyphrase", "score"), extras=False)
            ) as batches,
        ):
            for batch in batches:
                problems = RowProblems(batch, str(file))
                keyphrase = partial(keyphrase_cell, max_chars=max_keyphrase_chars)
                columns = {
                    "item_id": problems.parsed("item_id", batch.columns["item_id"], id_cell),
                    "keyphrase": problems.parsed("keyphrase", batch.columns["keyphrase"], keyphrase),
                    "site": problems.parsed("site", batch.columns["site"], label_cell),
                    "score": problems.parsed("score", batch.columns["score"], _probability),
                }
                kept = problems.settle(rejects)
                if kept is not None:
                    columns = {name: [values[place] for place in kept] for name, values in columns.items()}
                tables.append(pa.table(columns, schema=_SCHEMA))
    return pa.concat_tables(tables)


def _probability(value: object) -> float:
    number = number_cell(value, 0, 1)
    if number is None:
        raise RejectedValueError(Reason.EMPTY, "is empty; expected a probability")
    return number
