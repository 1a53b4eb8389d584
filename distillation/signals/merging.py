"""Merging: rows about the same thing become one row."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from keydistill.distillation.signals.schemas import KEYS, SCHEMAS

# Rows that wait before they are merged into the result: this bounds memory, and keeps the merging linear.
_WAITING_ROWS = 1 << 20
_ROW = "__row"


def merged(name: str, batches: Iterable[pa.Table]) -> pa.Table:
    """One table out of batches, by the key of this table (`KEYS`), in the order in which keys first appeared.

    Impressions, clicks and sales are summed. In all other tables the last row of a key counts: a judgment that is made
    again, a score of a newer search engine and an item that is listed again replace the earlier ones.

    Args:
        name: Name of the table, as in `SCHEMAS`.
        batches: Tables of its schema; read once.
    """
    # What is merged already comes first.
    tables: list[pa.Table] = []
    merged_rows = waiting_rows = 0
    for batch in batches:
        tables.append(batch)
        waiting_rows += batch.num_rows
        # Doubling: every row is merged a few times at the most, however many there are.
        if waiting_rows >= max(_WAITING_ROWS, merged_rows):
            tables = [_merged(name, pa.concat_tables(tables))]
            merged_rows, waiting_rows = tables[0].num_rows, 0
    return _merged(name, pa.concat_tables(tables)) if tables else SCHEMAS[name].empty_table()


def _merged(name: str, table: pa.Table) -> pa.Table:
    key = list(KEYS[name])
    numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
    if name == "clicks":
        sums = [("impressions", "sum"), ("clicks", "sum"), ("sales", "sum")]
        grouped = numbered.group_by(key).aggregate([*sums, (_ROW, "min")]).sort_by(f"{_ROW}_min")
        grouped = grouped.rename_columns({f"{name}_sum": name for name, _ in sums})
        return grouped.select(table.schema.names).cast(table.schema)
    rows = numbered.group_by(key).aggregate([(_ROW, "min"), (_ROW, "max")]).sort_by(f"{_ROW}_min")
    return table if rows.num_rows == table.num_rows else table.take(rows[f"{_ROW}_max"])
