"""Files that commands are given as tables: validated, with the share of rejected rows that the settings allow."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keydistill.errors import TooManyRejectsError

if TYPE_CHECKING:
    import pyarrow as pa

    from keydistill.settings import Settings
    from keydistill.tables import Columns, Conventions, RawBatch, RejectLog, RowProblems

# Called with files, the log of rejects, and `conventions` by name.
Load = Callable[..., "pa.Table"]


def read_table(
    what: str, files: Sequence[Path], settings: "Settings", load: Load, warn: Callable[[str], object]
) -> "pa.Table":
    """The rows of the files that can be used; `warn` is called with a sentence on the others, if there are any.

    Raises:
        TooManyRejectsError: More rows cannot be used than `max_reject_share` allows.
        InputError: A file cannot be read.
    """
    from keydistill.tables import Conventions, RejectLog

    with RejectLog() as rejects:
        table = load(files, rejects, conventions=Conventions.of(settings))
    if rejects.count:
        first = rejects.examples[0]
        share = rejects.count / (rejects.count + len(table))
        warning = (
            f"{rejects.count:,} rows of the {what} ({share:.2%}) cannot be used, the first: {first.source} row "
            f"{first.row:,}, {first.column or 'as a whole'} {first.detail}"
        )
        if share > settings.max_reject_share:
            raise TooManyRejectsError(f"{warning}; max_reject_share allows {settings.max_reject_share:.2%}")
        warn(warning)
    return table


def read_inventory(files: Sequence[Path], settings: "Settings") -> "pa.Table":
    """The inventory exactly as a run would build it: normalised, merged, categories with their ancestors.

    Raises:
        TooManyRejectsError: More rows are rejected than `max_reject_share` allows.
        InputError: A file cannot be read.
    """
    import pyarrow as pa

    from keydistill.ingest.snapshot.snapshot import SnapshotSettings, build_snapshot

    with tempfile.TemporaryDirectory(prefix="keydistill-") as folder:
        try:
            # The lengths only help to embed, and nothing is embedded here: all rows count as equally long.
            snapshot = build_snapshot(
                files, Path(folder) / "snapshot", SnapshotSettings.of(settings), lambda texts: [1] * len(texts)
            )
        except TooManyRejectsError:
            raise TooManyRejectsError(
                f"too many rows of {', '.join(map(str, files))} are rejected; `keydistill inventory check` says which "
                "and why"
            ) from None
        return pa.concat_tables([rows for _, rows in snapshot.tables()])


def load_pairs(files: Sequence[Path], rejects: "RejectLog", *, conventions: "Conventions | None" = None) -> "pa.Table":
    """The columns `item_id` and `keyphrase` of files that may have others, such as those that `recommend` writes.

    Raises:
        InputError: A file cannot be read, or lacks one of the two.
    """
    import pyarrow as pa

    from keydistill.tables import USUAL, id_cell, keyphrase_cell, read_valid

    columns = ("item_id", "keyphrase")
    schema = pa.schema([(name, pa.string()) for name in columns])

    def parsed(batch: "RawBatch", problems: "RowProblems") -> "Columns":
        return {
            "item_id": problems.parsed("item_id", batch.columns["item_id"], id_cell),
            # The longest that an inventory may ever allow: a longer one only matches nothing.
            "keyphrase": problems.parsed(
                "keyphrase", batch.columns["keyphrase"], lambda value: keyphrase_cell(value, 10_000)
            ),
        }

    tables = read_valid(files, schema, parsed, rejects, required=columns, conventions=conventions or USUAL)
    return pa.concat_tables([schema.empty_table(), *tables])
