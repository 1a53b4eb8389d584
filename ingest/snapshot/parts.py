"""The Parquet parts of a snapshot: how they are cut and written, and what identifies their content."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.ingest.inventory import point_ids, text_hash

PART_SCHEMA = pa.schema(
    [
        pa.field("point_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("category_ids", pa.list_(pa.string()), nullable=False),
        pa.field("search_volume", pa.int64()),
        pa.field("language", pa.string()),
        pa.field("text_hash", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("payload", pa.string()),
    ]
)
_ROW_GROUP_ROWS = 1 << 18

# Control characters cannot stand in any of the joined fields (in a payload JSON escapes them).
_IN_LIST, _BETWEEN_FIELDS, _NULL, _END = "\x1d", "\x1f", "\x01", "\x1e"


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a snapshot, with the SHA-256 of its bytes."""

    number: int
    path: Path
    rows: int
    bytes: int
    sha256: str


class PartWriter:
    """Cuts a stream of merged rows into parts of exactly `part_rows` rows (the last one may have fewer).

    Attributes:
        parts: Parts that are written so far.
        rows: Number of rows so far, including those that are still held back.
        without_category: Number of rows that have no category.
        texts: Number of different keyphrases.
        tokens: Number of tokens of all rows together.
        max_tokens: Number of tokens of the longest row.
    """

    def __init__(self, folder: Path, part_rows: int) -> None:
        self.parts: list[Part] = []
        self.rows = self.without_category = self.texts = self.tokens = self.max_tokens = 0
        self._folder = folder
        self._part_rows = part_rows
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._last_keyphrase: str | None = None
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Identifies the rows and their order, however they are cut into parts and whichever library wrote them."""
        return self._digest.hexdigest()

    def write(self, rows: pa.Table) -> None:
        """Take rows in their final order, by `STAGED_SCHEMA`."""
        self._count(rows)
        self._held.append(rows)
        self._held_rows += rows.num_rows
        if self._held_rows >= self._part_rows:
            waiting = pa.concat_tables(self._held)
            writable_rows = self._held_rows - self._held_rows % self._part_rows
            for start in range(0, writable_rows, self._part_rows):
                self._write_part(waiting.slice(start, self._part_rows))
            self._held = [waiting.slice(writable_rows)]
            self._held_rows -= writable_rows

    def close(self) -> None:
        """Write the rows that are still held back."""
        if self._held_rows:
            self._write_part(pa.concat_tables(self._held))
        self._held, self._held_rows = [], 0

    def _write_part(self, rows: pa.Table) -> None:
        keyphrases = rows["keyphrase"].to_pylist()
        columns = {name: rows[name] for name in rows.column_names} | {
            "point_id": pa.array(point_ids(rows["site"].to_pylist(), keyphrases)),
            "text_hash": pa.array([text_hash(keyphrase) for keyphrase in keyphrases]),
        }
        table = pa.table({name: columns[name] for name in PART_SCHEMA.names}, schema=PART_SCHEMA).combine_chunks()
        number = len(self.parts)
        path = self._folder / f"part-{number:05}.parquet"
        # zstd and the row group size are part of the promise that equal rows make equal bytes.
        pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.parts.append(Part(number, path, table.num_rows, path.stat().st_size, digest))

    def _count(self, rows: pa.Table) -> None:
        keyphrases = rows["keyphrase"].to_pylist()
        for keyphrase in keyphrases:
            # Equal texts have equal tokens and stand together.
            if keyphrase != self._last_keyphrase:
                self.texts += 1
                self._last_keyphrase = keyphrase
        self.rows += rows.num_rows
        self.without_category += pc.sum(pc.equal(pc.list_value_length(rows["category_ids"]), 0)).as_py() or 0
        self.tokens += pc.sum(rows["tokens"]).as_py() or 0
        self.max_tokens = max(self.max_tokens, pc.max(rows["tokens"]).as_py() or 0)
        for line in _lines(rows):
            self._digest.update(line)


def _lines(rows: pa.Table) -> Iterator[bytes]:
    fields = [
        rows["keyphrase"],
        rows["site"],
        pc.binary_join(rows["category_ids"], _IN_LIST),
        rows["search_volume"].cast(pa.string()),
        rows["language"],
        rows["tokens"].cast(pa.string()),
        rows["payload"],
    ]
    filled = [pc.fill_null(column, _NULL) for column in fields]
    for chunk in pc.binary_join_element_wise(*filled, _BETWEEN_FIELDS).chunks:
        yield "".join(f"{line}{_END}" for line in chunk.to_pylist()).encode()
