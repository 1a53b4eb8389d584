"""The four tables that training learns from: their columns, and what makes two rows the same row."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

_PAIR = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("keyphrase", pa.string(), nullable=False),
    pa.field("site", pa.string()),
]

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("category_path", pa.string()),
        pa.field("site", pa.string()),
    ]
)
CLICKS = pa.schema(
    [
        *_PAIR,
        # None where nobody knows at which position the pair was shown.
        pa.field("position", pa.int32()),
        pa.field("impressions", pa.int64(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
        # Number or value of the sales that followed these clicks; None where nobody counted them.
        pa.field("sales", pa.float64()),
    ]
)
SEARCH_RELEVANCE = pa.schema(
    [
        *_PAIR,
        pa.field("score", pa.float32()),
        pa.field("passed", pa.bool_()),
    ]
)
JUDGMENTS = pa.schema(
    [
        *_PAIR,
        pa.field("label", pa.bool_(), nullable=False),
        pa.field("probability", pa.float32()),
        pa.field("judge", pa.string()),
        pa.field("prompt_version", pa.string()),
        pa.field("grade", pa.int8()),
    ]
)
# The inventory that an importer writes beside them: fit for `keydistill reindex`.
INVENTORY = pa.schema(
    [
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("category_path", pa.string()),
        pa.field("site", pa.string()),
        pa.field("search_volume", pa.int64()),
    ]
)

SCHEMAS: Mapping[str, pa.Schema] = {
    "items": ITEMS,
    "clicks": CLICKS,
    "search_relevance": SEARCH_RELEVANCE,
    "judgments": JUDGMENTS,
}

# The key of each table: rows that agree in it become one row. Clicks are summed; otherwise the last row counts.
KEYS: Mapping[str, tuple[str, ...]] = {
    "items": ("site", "item_id"),
    "clicks": ("site", "item_id", "keyphrase", "position"),
    "search_relevance": ("site", "item_id", "keyphrase"),
    "judgments": ("site", "item_id", "keyphrase", "judge", "prompt_version"),
}

# ESCI: exact, substitute, complement, irrelevant (https://github.com/amazon-science/esci-data).
GRADE_LETTERS: Mapping[str, int] = {"E": 3, "S": 2, "C": 1, "I": 0}
MAX_GRADE = 3
EXACT = 3


def items_schema(fields: Iterable[str]) -> pa.Schema:
    """The columns of items that have free fields, too: these follow those of `ITEMS`, as text."""
    return pa.schema([*ITEMS, *(pa.field(name, pa.string()) for name in fields)])
