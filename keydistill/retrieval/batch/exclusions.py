"""Keyphrases that items have already: a file of pairs, kept in memory by item."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from keydistill.retrieval.items import Item
from keydistill.tables import USUAL, Conventions, RejectLog, read_valid

_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
    ]
)
_MAX_KEYPHRASE_CHARS = 1_000


class Exclusions:
    """What each item must not get, by item and site; a pair without a site counts for the item on every site."""

    def __init__(self) -> None:
        self._keyphrases: dict[tuple[str, str | None], list[str]] = {}

    @classmethod
    def read(cls, files: Sequence[Path], rejects: RejectLog, conventions: Conventions = USUAL) -> "Exclusions":
        """The pairs of files with the columns `item_id` and `keyphrase`, and optionally `site`.

        Raises:
            InputError: A file is damaged or lacks a column.
        """
        # Takes a moment to import, and most batches exclude nothing.
        from keydistill.distillation.signals import pair_columns

        exclusions = cls()
        validate = partial(pair_columns, max_keyphrase_chars=_MAX_KEYPHRASE_CHARS)
        required = ("item_id", "keyphrase")
        for table in read_valid(files, _SCHEMA, validate, rejects, required=required, conventions=conventions):
            for item_id, keyphrase, site in zip(*(table[name].to_pylist() for name in _SCHEMA.names), strict=True):
                exclusions._keyphrases.setdefault((item_id, site), []).append(keyphrase)
        return exclusions

    def of(self, item: Item) -> list[str]:
        """The keyphrases that an item must not get."""
        anywhere = self._keyphrases.get((item.item_id, None), [])
        return anywhere if item.site is None else anywhere + self._keyphrases.get((item.item_id, item.site), [])
