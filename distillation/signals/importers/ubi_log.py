"""The rows of a UBI log as they come out of exports, brought to one form."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.tables import (
    LIST_SEPARATOR,
    RawBatch,
    Reason,
    RejectedValueError,
    RowProblems,
    count_cell,
    id_cell,
    is_missing,
    keyphrase_cell,
    parse_json,
    text_cell,
)

CLICK_ACTIONS = ("click", "click_through")
IMPRESSION_ACTIONS = ("impression",)

# The list's name changed between versions of the schema and of its documentation.
_HITS = ("query_response_hit_ids", "query_response_object_ids", "query_response_objects_ids")
_OBJECT = "event_attributes.object.object_id"
_ORDINAL = "event_attributes.position.ordinal"
_TITLES = ("event_attributes.object.description", "event_attributes.object.name", "event_attributes.object.title")
_FIELDS = ("action_name", "query_id", "user_query", "event_attributes", *_HITS, _OBJECT, _ORDINAL, *_TITLES)
COLUMNS = ("_source", "index", "create", *_FIELDS)
# JSON may be written on several lines.
MULTILINE = ("_source", "index", "create", "event_attributes", *_HITS)
_MAX_PLACE = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class UbiOptions:
    """Options for reading a UBI log.

    Attributes:
        click_actions: Values of `action_name` that mean a click.
        impression_actions: Values of `action_name` that mean that a result was shown.
        first_position: Ordinal of the first result: 1, or 0 where a client counts from there.
        site: Site of all pairs.
    """

    click_actions: tuple[str, ...] = CLICK_ACTIONS
    impression_actions: tuple[str, ...] = IMPRESSION_ACTIONS
    first_position: int = 1
    site: str | None = None


class LogRows:
    """The rows of a batch, sorted into queries, lists of results, events and titles."""

    def __init__(self, batch: RawBatch, source: str, reader: ImportReader, options: UbiOptions) -> None:
        self.queries: list[dict[str, Any]] = []
        self.listed: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.titles: dict[str, str] = {}
        self._batch = batch
        self._source = source
        self._reader = reader
        self._options = options
        self._column = ""

    def read(self) -> None:
        """Read all rows; what cannot be used becomes a reject."""
        problems = RowProblems(self._batch, self._source)
        for place, row in enumerate(_rows(self._batch)):
            if row is None:
                self._reader.ignore("bulk actions")
                continue
            try:
                if is_missing(row.get("action_name")) or row["action_name"] == "":
                    self._query(row)
                else:
                    self._event(row, place)
            except RejectedValueError as problem:
                problems.add(place, self._column, problem, row.get(self._column))
        problems.settle(self._reader.rejects)

    def _query(self, row: Mapping[str, Any]) -> None:
        query = self._cell(row, "query_id", id_cell)
        if not _has(row, "user_query"):
            # Allowed by the schema: a recommendation is a query without words.
            self._reader.ignore("queries without user_query")
            self.queries.append({"query_id": query, "keyphrase": None, "logged": True})
            return
        self.queries.append({"query_id": query, "keyphrase": self._keyphrase(row), "logged": True})
        self._column = next((name for name in _HITS if _has(row, name)), _HITS[0])
        for place, item in enumerate(_listed(row.get(self._column)), start=1):
            self.listed.append({"query_id": query, "item_id": id_cell(item), "place": place})

    def _event(self, row: Mapping[str, Any], place: int) -> None:
        action = str(row["action_name"]).strip()
        clicked = action in self._options.click_actions
        if not clicked and action not in self._options.impression_actions:
            self._reader.ignore("events of other actions")
            return
        if not _has(row, "query_id"):
            self._reader.ignore("events without query_id")
            return
        self._column = "event_attributes"
        fields = _attributes(row)
        query = self._cell(row, "query_id", id_cell)
        item = self._cell(fields, _OBJECT, id_cell)
        ordinal = self._cell(fields, _ORDINAL, lambda value: count_cell(value, self._options.first_position))
        if ordinal is not None:
            ordinal = min(ordinal - self._options.first_position + 1, _MAX_PLACE)
        if _has(row, "user_query"):
            self.queries.append({"query_id": query, "keyphrase": self._keyphrase(row), "logged": False})
        for name in _TITLES:
            if item not in self.titles and _has(fields, name):
                self.titles[item] = self._cell(fields, name, text_cell)
        line = None if self._batch.lines is None else self._batch.lines[place]
        where = {"source": self._source, "row": self._batch.rows[place], "line": line}
        self.events.append({"query_id": query, "item_id": item, "place": ordinal, "clicked": clicked, **where})

    def _keyphrase(self, row: Mapping[str, Any]) -> str:
        words: str = self._cell(
            row, "user_query", lambda value: keyphrase_cell(value, self._reader.max_keyphrase_chars)
        )
        return words

    def _cell(self, row: Mapping[str, Any], column: str, parse: Any) -> Any:
        self._column = column
        return parse(row.get(column))


def _rows(batch: RawBatch) -> Iterator[Mapping[str, Any] | None]:
    """The documents; None for the line of a bulk file that only says where the next document goes."""
    columns = [batch.columns[name] for name in COLUMNS]
    for cells in zip(*columns, strict=True):
        row = dict(zip(COLUMNS, cells, strict=True))
        if isinstance(row["_source"], dict):
            yield row["_source"]
        elif isinstance(row["index"], dict) or isinstance(row["create"], dict):
            yield None
        else:
            yield row


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    """The nested fields of an event under the names that they have when flattened."""
    fields = {name: row.get(name) for name in (_OBJECT, _ORDINAL, *_TITLES)}
    nested = row.get("event_attributes")
    if isinstance(nested, str) and nested.strip():
        try:
            nested = parse_json(nested)
        except (ValueError, RecursionError):
            raise RejectedValueError(Reason.MALFORMED_ROW, "has event_attributes that are no JSON") from None
    if isinstance(nested, dict):
        for name in fields:
            value: Any = nested
            for part in name.split(".")[1:]:
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None:
                fields[name] = value
    return fields


def _listed(value: object) -> Sequence[object]:
    """Ids of results in their order, from a list, JSON text, or text with separators."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = parse_json(text)
            except (ValueError, RecursionError):
                raise RejectedValueError(Reason.MALFORMED_ROW, "is a list that is no JSON") from None
        else:
            separator = LIST_SEPARATOR if LIST_SEPARATOR in text else ","
            value = [part for part in text.split(separator) if part.strip()]
    if is_missing(value):
        return ()
    if not isinstance(value, list):
        raise RejectedValueError(Reason.NOT_TEXT, "is no list of ids")
    return value


def _has(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return not is_missing(value) and value != ""
