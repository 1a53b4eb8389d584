"""What a reader hands on of a file, all batches together."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from keydistill.tables import open_source, read_rows


def cells_of(path: Path, known: Sequence[str], required: Sequence[str] = (), **options: Any) -> dict[str, list[object]]:
    """The cells of the known columns, and the other columns of each row under ""."""
    columns: dict[str, list[object]] = {name: [] for name in (*known, "")}
    with (
        open_source(path) as source,
        closing(read_rows(source, known=known, required=required, **options)) as batches,
    ):
        for batch in batches:
            assert not batch.malformed
            for name in known:
                columns[name] += batch.columns[name]
            columns[""] += batch.extras or [{}] * len(batch.rows)
    return columns
