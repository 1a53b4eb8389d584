"""Recommendations to a CSV, JSONL or Parquet file that appears only once it is complete."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from errors import InputError
from retrieval.items import Item
from retrieval.retriever import Recommendation

SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("search_volume", pa.int64()),
        pa.field("site", pa.string()),
        pa.field("category_ids", pa.list_(pa.string())),
    ]
)

Row = dict[str, Any]
Write = Callable[[list[Row]], None]


def rows_of(items: Sequence[Item], found: Sequence[Sequence[Recommendation]]) -> list[Row]:
    """One row per recommendation; ranks begin with 1."""
    return [
        {
            "item_id": item.item_id,
            "rank": rank,
            "keyphrase": hit.keyphrase,
            "score": round(hit.score, 6),
            "search_volume": hit.payload.get("search_volume"),
            "site": hit.payload.get("site"),
            "category_ids": hit.payload.get("category_ids", []),
        }
        for item, hits in zip(items, found, strict=True)
        for rank, hit in enumerate(hits, start=1)
    ]


@contextmanager
def open_output(path: Path) -> Iterator[Write]:
    """A function that writes rows to `path`; the file replaces an older one when the block ends without an error.

    Raises:
        InputError: The extension is none of .csv, .jsonl, .parquet.
    """
    if path.suffix not in _WRITERS:
        raise InputError(f"{path} has an unknown extension; expected one of {', '.join(_WRITERS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with _WRITERS[path.suffix](draft) as write:
            yield write
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SCHEMA.names)
        writer.writeheader()

        def write(rows: list[Row]) -> None:
            writer.writerows({**row, "category_ids": "|".join(row["category_ids"])} for row in rows)

        yield write


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:

        def write(rows: list[Row]) -> None:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:

        def write(rows: list[Row]) -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))

        yield write


_WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
