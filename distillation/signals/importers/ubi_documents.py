"""The documents of a UBI log as exports hold them: rows, `_source`, `fields`, whole responses, lines of bulk files.

Kibana and the dashboards of OpenSearch write CSV with flattened names, lists as "7, 8" and "-" where a field is absent;
pandas writes lists and objects as Python does.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keydistill.tables import LIST_SEPARATOR, Reason, RejectedValueError, is_missing, parse_json

# The list's name changed between versions of the schema and of its documentation.
HITS = ("query_response_hit_ids", "query_response_object_ids", "query_response_objects_ids")
OBJECT = "event_attributes.object.object_id"
ORDINAL = "event_attributes.position.ordinal"
TITLES = ("event_attributes.object.description", "event_attributes.object.name", "event_attributes.object.title")
_FIELDS = (
    *(
        "action_name",
        "application",
        "query_id",
        "user_query",
        "timestamp",
        "event_attributes",
        "event_attributes.object",
    ),
    *("event_attributes.position", *HITS, OBJECT, ORDINAL, *TITLES),
)
# A field as a column of text is named after its mapping: text that is also kept whole has a field `keyword` below it.
_SPELLINGS = {name: (name, f"_source.{name}", f"{name}.keyword", f"_source.{name}.keyword") for name in _FIELDS}
_BULK = ("index", "create", "delete", "update")
_WRAPPERS = ("_source", "fields", "hits", "responses", *_BULK)
COLUMNS = (*_WRAPPERS, *(spelling for spellings in _SPELLINGS.values() for spelling in spellings))
# JSON may be written on several lines.
MULTILINE = (
    tuple(
        spelling
        for name in ("event_attributes", "event_attributes.object", "event_attributes.position", *HITS)
        for spelling in _SPELLINGS[name]
    )
    + _WRAPPERS
)
# Python joins strings that stand side by side, as numpy writes the elements of an array.
_SIDE_BY_SIDE = re.compile(r"""['"]\s*['"]""")


def documents(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | None]:
    """The documents of one row; None for the line of a bulk file that only says where the next document goes."""
    hits, responses = row.get("hits"), row.get("responses")
    if isinstance(hits, dict):
        hits = hits.get("hits")
    if isinstance(responses, list):
        for response in responses:
            yield from documents(response) if isinstance(response, dict) else ()
    elif isinstance(hits, list):
        for hit in hits:
            yield from documents(hit) if isinstance(hit, dict) else ()
    elif isinstance(source := _object(row.get("_source")), dict):
        yield source
    elif isinstance(fields := row.get("fields"), dict):
        yield {name: _only(value) if name not in HITS else value for name, value in fields.items()}
    elif any(isinstance(row.get(action), dict) for action in _BULK):
        yield None
    else:
        yield {
            name: next((row[spelling] for spelling in spellings if has(row, spelling)), None)
            for name, spellings in _SPELLINGS.items()
        }


def attributes(document: Mapping[str, Any]) -> dict[str, Any]:
    """The nested fields of an event under the names that they have when flattened.

    Raises:
        RejectedValueError: They are text that is no JSON.
    """
    fields = {name: document.get(name) for name in (OBJECT, ORDINAL, *TITLES)}
    nested = {"event_attributes": _object(document.get("event_attributes"), refuse=True)}
    for part in ("event_attributes.object", "event_attributes.position"):
        nested[part] = _object(document.get(part), refuse=True)
    for name in fields:
        for root, tree in nested.items():
            value: Any = tree
            for key in name.removeprefix(f"{root}.").split(".") if name.startswith(f"{root}.") else ():
                value = value.get(key, value.get(f"{key}.keyword")) if isinstance(value, dict) else None
            if name.startswith(f"{root}.") and value is not None:
                fields[name] = value
    return {name: value if has(fields, name) else None for name, value in fields.items()}


def listed(value: object) -> Sequence[object]:
    """Ids of results in their order, from a list, text of JSON or Python, or text with separators.

    Raises:
        RejectedValueError: It is no list.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            value = _literal(text)
            if value is None:
                raise RejectedValueError(Reason.MALFORMED_ROW, 'is a list that is no JSON; write ["7", "8"]')
        else:
            separator = LIST_SEPARATOR if LIST_SEPARATOR in text else ","
            value = [part for part in text.split(separator) if part.strip()]
    if is_missing(value):
        return ()
    if not isinstance(value, list):
        raise RejectedValueError(Reason.NOT_TEXT, "is no list of ids")
    return value


def has(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a field is there and says something; dashboards write "-" where it is absent."""
    value = fields.get(name)
    return not is_missing(value) and not (isinstance(value, str) and value.strip() in ("", "-"))


def _object(value: object, *, refuse: bool = False) -> object:
    """What text of JSON or of Python says, and other values as they are."""
    if not isinstance(value, str) or value.strip() in ("", "-"):
        return value
    parsed = _literal(value.strip())
    if parsed is None and refuse:
        raise RejectedValueError(Reason.MALFORMED_ROW, "has event_attributes that are no JSON")
    return parsed


def _literal(text: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        if _SIDE_BY_SIDE.search(text):
            return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _only(value: object) -> object:
    """The value of a field that a search gave back as a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
