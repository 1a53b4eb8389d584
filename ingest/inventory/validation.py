"""From rows as they stand in a file to inventory rows; what cannot become one is a reject with a reason."""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import pyarrow as pa

from keydistill.tables import (
    Categories,
    RawBatch,
    Reason,
    RejectedValueError,
    RejectLog,
    RowProblems,
    count_cell,
    is_missing,
    keyphrase_cell,
    label_cell,
    type_name,
)

KNOWN_COLUMNS = ("keyphrase", "site", "category_ids", "category_path", "search_volume", "language")
REQUIRED_COLUMNS = ("keyphrase",)
RESERVED_COLUMNS = ("point_id", "text_hash", "tokens")

MAX_PAYLOAD_CHARS = 65_536

ROW_SCHEMA = pa.schema(
    [
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("category_ids", pa.list_(pa.string()), nullable=False),
        pa.field("search_volume", pa.int64()),
        pa.field("language", pa.string()),
        pa.field("payload", pa.string()),
    ]
)

_dumps = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def inventory_rows(
    batch: RawBatch, source: str, max_keyphrase_chars: int, categories: Categories, rejects: RejectLog
) -> pa.Table:
    """The rows of a batch that can be used, by `ROW_SCHEMA`; each of the others goes to `rejects`, once.

    Args:
        batch: Rows from `read_rows` with the columns that this module names.
        source: Name of the file, for the rejects.
        max_keyphrase_chars: Length above which a normalised keyphrase is rejected.
        categories: Category tree, for the ancestors of a category.
        rejects: Log of the rows that cannot be used.
    """
    problems = RowProblems(batch, source)
    raw = batch.columns
    columns = {
        "keyphrase": problems.parsed(
            "keyphrase", raw["keyphrase"], lambda value: keyphrase_cell(value, max_keyphrase_chars)
        ),
        "site": problems.parsed("site", raw["site"], label_cell),
        "category_ids": _categories(raw, categories, problems),
        "search_volume": problems.parsed("search_volume", raw["search_volume"], count_cell),
        "language": problems.parsed("language", raw["language"], label_cell),
        "payload": [None] * len(batch.rows) if batch.extras is None else _payloads(batch.extras, problems),
    }
    usable_places = problems.settle(rejects)
    if usable_places is not None:
        columns = {name: [values[place] for place in usable_places] for name, values in columns.items()}
    return pa.table(columns, schema=ROW_SCHEMA)


def _categories(
    raw: Mapping[str, Sequence[object]],
    categories: Categories,
    problems: RowProblems,
) -> list[object]:
    category_ids: list[object] = []
    for position, (ids, paths) in enumerate(zip(raw["category_ids"], raw["category_path"], strict=True)):
        try:
            category_ids.append(categories.of(None if is_missing(ids) else ids, None if is_missing(paths) else paths))
        except RejectedValueError as problem:
            category_ids.append(None)
            name, value = _culprit(ids, paths, categories)
            problems.add(position, name, problem, value)
    return category_ids


def _culprit(ids: object, paths: object, categories: Categories) -> tuple[str, object]:
    try:
        categories.of(None if is_missing(ids) else ids, None)
    except RejectedValueError:
        return "category_ids", ids
    return "category_path", paths


def _payloads(extras: Sequence[Mapping[str, object]], problems: RowProblems) -> list[object]:
    texts: list[object] = []
    for position, fields in enumerate(extras):
        name, payload = "", {}
        try:
            for name, value in fields.items():
                plain = value if type(value) is str else _payload_value(value)
                if plain is not None and plain != "":
                    payload[name] = plain
            name = "payload"
            text = _dumps(payload) if payload else None
            if text is not None and len(text) > MAX_PAYLOAD_CHARS:
                raise RejectedValueError(
                    Reason.TOO_LONG,
                    f"has {len(text):,} characters as JSON; at most {MAX_PAYLOAD_CHARS:,} are allowed in a row",
                )
            if text is not None and not _is_encodable(text):
                name = next((name for name, value in payload.items() if not _is_encodable(_dumps(value))), "payload")
                raise RejectedValueError(Reason.BAD_ENCODING, "is not valid UTF-8")
            texts.append(text)
        except RejectedValueError as problem:
            texts.append(None)
            problems.add(position, name, problem, fields.get(name))
    return texts


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _payload_value(value: object, *, nested: bool = False) -> object:
    if isinstance(value, Decimal):
        # Prices keep their digits: no double is 19.99.
        if value != int(value) or int(value.as_tuple().exponent) < 0:
            return f"{value:f}"
        value = int(value)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise RejectedValueError(
                Reason.BAD_NUMBER, "is a whole number beyond 64 bits, which no engine holds exactly; write it as text"
            )
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise RejectedValueError(Reason.BAD_NUMBER, "is infinite; expected a number")
        return None if math.isnan(value) else value
    if isinstance(value, list) and not nested:
        return [_payload_value(element, nested=True) for element in value]
    raise RejectedValueError(
        Reason.BAD_PAYLOAD, f"holds {type_name(value)}; a payload field is text, a number, true or false, or a list"
    )
