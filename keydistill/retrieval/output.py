"""Recommendations as rows of a table."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from keydistill.retrieval.generation import Recommendation
from keydistill.retrieval.items import Item

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


def rows_of(items: Sequence[Item], lists: Sequence[Sequence[Recommendation]]) -> list[dict[str, Any]]:
    """Rows by `SCHEMA`, one per recommendation; ranks begin with 1."""
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
        for item, hits in zip(items, lists, strict=True)
        for rank, hit in enumerate(hits, start=1)
    ]
