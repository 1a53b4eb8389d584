"""Files of scores that the assistant gave, read back."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from keydistill.distillation.signals import MAX_KEYPHRASE_CHARS, pair_columns
from keydistill.tables import (
    USUAL,
    Columns,
    Conventions,
    RawBatch,
    Reason,
    RejectedValueError,
    RejectLog,
    RowProblems,
    number_cell,
    read_valid,
)

# Held-out metrics of the assistant that say what its scores can be trusted with; they travel with the scores.
_WITHIN = ("auc_within", "auc_within_low", "auc_within_high", "held_out_lists")
_GAIN = ("auc_within_student", "auc_within_gain", "auc_within_gain_low", "auc_within_gain_high")
TRUST_COLUMNS = ("auc", "auc_low", "auc_high", *_WITHIN, *_GAIN, "approved_right", "rejected_right", "held_out_pairs")
_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
        *(pa.field(name, pa.float32()) for name in TRUST_COLUMNS),
    ]
)


def load_scores(
    files: Sequence[Path],
    rejects: RejectLog,
    *,
    max_keyphrase_chars: int = MAX_KEYPHRASE_CHARS,
    conventions: Conventions = USUAL,
) -> pa.Table:
    """All rows: `item_id`, `keyphrase`, `site`, `score`, as `score_pairs` writes them, and `TRUST_COLUMNS`.

    Other columns are ignored.

    Raises:
        InputError: A file is damaged or lacks a column.
    """
    validate = partial(_columns, max_keyphrase_chars=max_keyphrase_chars)
    required = ("item_id", "keyphrase", "score")
    tables = read_valid(files, _SCHEMA, validate, rejects, required=required, conventions=conventions)
    return pa.concat_tables([_SCHEMA.empty_table(), *tables])


def _columns(batch: RawBatch, problems: RowProblems, *, max_keyphrase_chars: int) -> Columns:
    cells = batch.columns
    return {
        **pair_columns(batch, problems, max_keyphrase_chars),
        "score": problems.parsed("score", cells["score"], _probability),
        **{name: problems.parsed(name, cells[name], number_cell) for name in TRUST_COLUMNS},
    }


def trust_of(scores: pa.Table) -> dict[str, float]:
    """What scores can be trusted with: the metrics of their assistant, of several assistants those of the worst.

    Args:
        scores: Table that `load_scores` read.

    Returns:
        Metrics by name; those that no row has are left out.
    """
    columns = [name for name in TRUST_COLUMNS if scores[name].null_count < len(scores)]
    if not columns:
        return {}
    rows = scores.select(columns).group_by(columns).aggregate([]).to_pylist()
    distinct: list[dict[str, float]] = [{name: one for name, one in row.items() if one is not None} for row in rows]

    def order(row: dict[str, float]) -> float:
        """How far the order of a keyphrase's items is above chance, and above that of the untrained student."""
        return min(row.get("auc_within_low", math.inf) - 0.5, row.get("auc_within_gain_low", math.inf))

    within = {name: value for name, value in min(distinct, key=order).items() if name in (*_WITHIN, *_GAIN)}
    lowest: dict[str, float] = {
        name: min(row[name] for row in distinct if name in row)
        for name in ("approved_right", "rejected_right")
        if name in columns
    }
    of_all_pairs = min(distinct, key=lambda row: row.get("auc_low", 1.0))
    rest = {name: value for name, value in of_all_pairs.items() if name not in (*_WITHIN, *_GAIN)}
    trust: dict[str, float] = {**rest, **within, **lowest}
    return {
        name: int(value) if name in ("held_out_pairs", "held_out_lists") else value for name, value in trust.items()
    }


def _probability(value: object) -> float:
    number = number_cell(value, 0, 1)
    if number is None:
        raise RejectedValueError(Reason.EMPTY, "is empty; expected a probability")
    return number
