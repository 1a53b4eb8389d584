"""From rows as they stand in a file to inventory rows; what cannot become one is a reject with a reason."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache

import pyarrow as pa

from tables import (
    Categories,
    RawBatch,
    Reason,
    Reject,
    RejectedValueError,
    RejectLog,
    normalize_keyphrase,
    normalize_label,
    shown,
)

KNOWN_COLUMNS = ("keyphrase", "site", "category_ids", "category_path", "search_volume", "language")
REQUIRED_COLUMNS = ("keyphrase",)
RESERVED_COLUMNS = ("point_id", "text_hash", "tokens")

MAX_LABEL_CHARS = 200
MAX_PAYLOAD_CHARS = 65_536
_MAX_INT64 = (1 << 63) - 1

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

_WHOLE_NUMBER = re.compile(r"([0-9]{1,19})(?:\.0*)?")
_TYPE_NAMES = {bool: "true or false", int: "a number", float: "a number", dict: "an object", list: "a list"}
_dumps = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def inventory_rows(
    batch: RawBatch, source: str, max_keyphrase_chars: int, categories: Categories, rejects: RejectLog
) -> pa.Table:
    """The rows of a batch that can be used, by `ROW_SCHEMA`; each of the others goes to `rejects`, once.

    Args:
        batch: From `read_rows` with the columns that this module names.
        source: Name of the file, for the rejects.
        max_keyphrase_chars: A longer normalised keyphrase is rejected.
        categories: Gives the ancestors of a category.
        rejects: Takes what cannot be used.
    """
    problems: dict[int, tuple[str, RejectedValueError, object]] = {}

    def parsed(name: str, values: Iterable[object], parse: Callable[[object], object]) -> list[object]:
        found: list[object] = []
        for position, value in enumerate(values):
            try:
                found.append(None if value is None else parse(value))
            except RejectedValueError as problem:
                found.append(None)
                problems.setdefault(position, (name, problem, value))
        return found

    raw = batch.columns
    keyphrases = ["" if value is None else value for value in raw["keyphrase"]]
    columns = {
        "keyphrase": parsed("keyphrase", keyphrases, lambda value: _keyphrase(value, max_keyphrase_chars)),
        "site": parsed("site", raw["site"], _label),
        "category_ids": _categories(raw, categories, problems),
        "search_volume": parsed("search_volume", raw["search_volume"], _volume),
        "language": parsed("language", raw["language"], _label),
        "payload": [None] * len(batch.rows) if batch.extras is None else _payloads(batch.extras, problems),
    }
    for malformed in batch.malformed:
        rejects.add(malformed.reject(source))
    for position, (name, problem, value) in sorted(problems.items()):
        line = None if batch.lines is None else batch.lines[position]
        rejects.add(Reject(source, batch.rows[position], line, name, problem.reason, problem.detail, shown(value)))
    if problems:
        kept = [position for position in range(len(batch.rows)) if position not in problems]
        columns = {name: [values[position] for position in kept] for name, values in columns.items()}
    return pa.table(columns, schema=ROW_SCHEMA)


def _keyphrase(value: object, max_chars: int) -> str:
    if not isinstance(value, str):
        raise RejectedValueError(Reason.NOT_TEXT, f"is {_type_name(value)}; expected text")
    keyphrase = normalize_keyphrase(value)
    if not keyphrase:
        raise RejectedValueError(Reason.EMPTY, "is empty")
    if len(keyphrase) > max_chars:
        raise RejectedValueError(
            Reason.TOO_LONG, f"has {len(keyphrase):,} characters; at most {max_chars:,} are allowed"
        )
    return keyphrase


def _label(value: object) -> str | None:
    if isinstance(value, str):
        return _text_label(value)
    if _is_missing(value):
        return None
    # Sites are often numbers, and pandas turns whole numbers into floats as soon as one is missing.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RejectedValueError(Reason.NOT_TEXT, f"is {_type_name(value)}; expected text")


@lru_cache(4_096)
def _text_label(value: str) -> str | None:
    label = normalize_label(value)
    if len(label) > MAX_LABEL_CHARS:
        raise RejectedValueError(
            Reason.TOO_LONG, f"has {len(label):,} characters; at most {MAX_LABEL_CHARS} are allowed"
        )
    return label or None


def _volume(value: object) -> int | None:
    number: int | None = None
    if isinstance(value, str):
        if not value.strip():
            return None
        matched = _WHOLE_NUMBER.fullmatch(value.strip())
        number = int(matched[1]) if matched else None
    elif _is_missing(value):
        return None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if number is None or not 0 <= number <= _MAX_INT64:
        raise RejectedValueError(
            Reason.BAD_NUMBER, "is no whole number from 0 up; write 1200, without separators or signs"
        )
    return number


def _categories(
    raw: Mapping[str, Sequence[object]],
    categories: Categories,
    problems: dict[int, tuple[str, RejectedValueError, object]],
) -> list[object]:
    found: list[object] = []
    for position, (ids, paths) in enumerate(zip(raw["category_ids"], raw["category_path"], strict=True)):
        try:
            found.append(categories.of(None if _is_missing(ids) else ids, None if _is_missing(paths) else paths))
        except RejectedValueError as problem:
            found.append(None)
            name, value = _culprit(ids, paths, categories)
            problems.setdefault(position, (name, problem, value))
    return found


def _culprit(ids: object, paths: object, categories: Categories) -> tuple[str, object]:
    try:
        categories.of(None if _is_missing(ids) else ids, None)
    except RejectedValueError:
        return "category_ids", ids
    return "category_path", paths


def _payloads(
    extras: Sequence[Mapping[str, object]], problems: dict[int, tuple[str, RejectedValueError, object]]
) -> list[object]:
    found: list[object] = []
    for position, fields in enumerate(extras):
        name, kept = "", {}
        try:
            for name, value in fields.items():
                usable = value if type(value) is str or type(value) is int else _payload_value(value)
                if usable is not None and usable != "":
                    kept[name] = usable
            name = "payload"
            text = _dumps(kept) if kept else None
            if text is not None and len(text) > MAX_PAYLOAD_CHARS:
                raise RejectedValueError(
                    Reason.TOO_LONG,
                    f"has {len(text):,} characters as JSON; at most {MAX_PAYLOAD_CHARS:,} are allowed in a row",
                )
            if text is not None and not _is_encodable(text):
                name = next((name for name, value in kept.items() if not _is_encodable(_dumps(value))), "payload")
                raise RejectedValueError(Reason.BAD_ENCODING, "is not valid UTF-8")
            found.append(text)
        except RejectedValueError as problem:
            found.append(None)
            problems.setdefault(position, (name, problem, fields.get(name)))
    return found


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _payload_value(value: object, *, nested: bool = False) -> object:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        if math.isinf(value):
            raise RejectedValueError(Reason.BAD_NUMBER, "is infinite; expected a number")
        return None if math.isnan(value) else value
    if isinstance(value, list) and not nested:
        return [_payload_value(element, nested=True) for element in value]
    raise RejectedValueError(
        Reason.BAD_PAYLOAD, f"holds {_type_name(value)}; a payload field is text, a number, true or false, or a list"
    )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), type(value).__name__)
