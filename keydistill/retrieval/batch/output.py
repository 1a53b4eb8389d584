"""Recommendations as rows of a table."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from keydistill.retrieval.items import Item
from keydistill.retrieval.lists import ListOptions
from keydistill.retrieval.recommendation import Recommendation

_SCHEMA = pa.schema(
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
_VARIANTS = pa.field("variants", pa.list_(pa.string()))
_FALLBACK = pa.field("fallback", pa.string())
_EXPLANATION = (
    pa.field("value", pa.float32()),
    pa.field("probability", pa.float32()),
    pa.field("shared_category", pa.string()),
    pa.field("ranks", pa.string()),
)


def schema_of(options: ListOptions | None) -> pa.Schema:
    """The columns of an output; options add columns for what they find out."""
    options = options or ListOptions()
    return pa.schema(
        [
            *_SCHEMA,
            *([_VARIANTS] if options.merge_variants else []),
            *([_FALLBACK] if options.fallback else []),
            *(_EXPLANATION if options.explain else []),
        ]
    )


def part_schema(options: ListOptions | None) -> pa.Schema:
    """The columns of a part: those of the output, with every digit of its numbers, which a text output shows."""
    return pa.schema(
        [field.with_type(pa.float64()) if pa.types.is_float32(field.type) else field for field in schema_of(options)]
    )


def rows_of(
    items: Sequence[Item], lists: Sequence[Sequence[Recommendation]], schema: pa.Schema
) -> list[dict[str, Any]]:
    """Rows by `schema`, one per recommendation; ranks begin with 1."""
    names = frozenset(schema.names)
    rows = []
    for item, recommendations in zip(items, lists, strict=True):
        for rank, found in enumerate(recommendations, start=1):
            row = {
                "item_id": item.item_id,
                "rank": rank,
                "keyphrase": found.keyphrase,
                "score": round(found.score, 6),
                "search_volume": found.payload.get("search_volume"),
                "site": found.payload.get("site"),
                "category_ids": found.payload.get("category_ids", []),
                "variants": list(found.variants),
                "fallback": found.fallback,
                **_explanation(found),
            }
            rows.append({name: row[name] for name in schema.names} if len(names) < len(row) else row)
    return rows


def _explanation(found: Recommendation) -> dict[str, Any]:
    explanation = found.explanation
    if explanation is None:
        return {}
    return {
        "value": round(explanation.value, 6),
        "probability": None if explanation.probability is None else round(explanation.probability, 6),
        "shared_category": explanation.category,
        "ranks": json.dumps(dict(explanation.ranks)),
    }
