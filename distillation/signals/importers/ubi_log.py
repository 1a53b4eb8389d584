"""The rows of a UBI log, brought to one form: queries, lists of results, events, titles."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.distillation.signals.importers.ubi_documents import (
    COLUMNS,
    HITS,
    OBJECT,
    ORDINAL,
    TITLES,
    attributes,
    documents,
    has,
    listed,
)
from keydistill.errors import InputError
from keydistill.tables import (
    RawBatch,
    Reason,
    Reject,
    RejectedValueError,
    RowProblems,
    count_cell,
    id_cell,
    keyphrase_cell,
    shown,
    text_cell,
)

CLICK_ACTIONS = ("click", "click_through")
IMPRESSION_ACTIONS = ("impression",)
SALE_ACTIONS = ("purchase",)
# Actions that are counted each by its name; a log with more of them has something else in this field.
_MOST_ACTIONS = 30
_MAX_PLACE = (1 << 31) - 1
_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")


@dataclass(frozen=True, slots=True)
class UbiOptions:
    """Options for reading a UBI log.

    Attributes:
        click_actions: Values of `action_name` that mean a click.
        impression_actions: Values of `action_name` that mean that a result was shown.
        sale_actions: Values of `action_name` that mean a sale.
        first_position: Ordinal of the first result: 1, or 0 where a client counts from there. None means 1, and refuses
            a log that looks as if it counted from 0.
        first_positions: The same for single applications, by the value of `application`.
        site: Site of all pairs.
    """

    click_actions: tuple[str, ...] = CLICK_ACTIONS
    impression_actions: tuple[str, ...] = IMPRESSION_ACTIONS
    sale_actions: tuple[str, ...] = SALE_ACTIONS
    first_position: int | None = None
    first_positions: Mapping[str, int] = field(default_factory=dict)
    site: str | None = None

    def stated_first(self, application: str | None) -> int | None:
        """The ordinal of an application's first result, where an option says it."""
        return self.first_positions.get(application or "", self.first_position)


class Ordinals:
    """How often each application writes the ordinals 0 and 1, which tells where it counts from."""

    def __init__(self) -> None:
        self._zeros: Counter[str | None] = Counter()
        self._ones: Counter[str | None] = Counter()

    def add(self, application: str | None, ordinal: object) -> None:
        """Count one event."""
        if isinstance(ordinal, str | int | float) and str(ordinal).strip() in ("0", "0.0"):
            self._zeros[application] += 1
        elif isinstance(ordinal, str | int | float) and str(ordinal).strip() in ("1", "1.0"):
            self._ones[application] += 1

    def check(self, options: UbiOptions) -> None:
        """Whether the options say where applications count from that seem to count from 0.

        Raises:
            InputError: They do not; read as they are, all positions but the first would be one too small.
        """
        for application, zeros in self._zeros.items():
            ones = self._ones[application]
            # A first result is shown and clicked about as often as a second one, or more often.
            if options.stated_first(application) is None and 2 * zeros >= ones:
                of_application = f" of application {application!r}" if application else ""
                raise InputError(
                    f"{zeros:,} events{of_application} have ordinal 0 and {ones:,} have ordinal 1: this client counts "
                    f"from 0; give {first_position_option(application, 0)}, or {first_position_option(application, 1)} "
                    "to reject what has ordinal 0"
                )


def first_position_option(application: str | None, first: int) -> str:
    """The option of the command line that says where an application counts from.

    >>> first_position_option("shop", 0), first_position_option(None, 1)
    ('--first-position shop=0', '--first-position 1')
    """
    value = f"{application}={first}" if application else str(first)
    return f"--first-position {value!r}" if re.search(r"[^\w.:=-]", value) else f"--first-position {value}"


class LogRows:
    """The rows of a batch, sorted into queries, lists of results, events, sales and titles.

    Args:
        batch: The rows.
        source: Name of their file.
        reader: Reader that accounts for them.
        options: Options of the import.
        ordinals: Counter of the whole log.
    """

    def __init__(
        self, batch: RawBatch, source: str, reader: ImportReader, options: UbiOptions, ordinals: Ordinals
    ) -> None:
        self.queries: list[dict[str, Any]] = []
        self.listed: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.sales: list[dict[str, Any]] = []
        self.titles: dict[str, str] = {}
        self._batch = batch
        self._source = source
        self._reader = reader
        self._options = options
        self._ordinals = ordinals
        self._column = ""
        self._where: dict[str, Any] = {}
        self._number = 0

    def read(self) -> None:
        """Read all rows; what cannot be used becomes a reject."""
        RowProblems(self._batch, self._source).settle(self._reader.rejects)
        columns = [self._batch.columns[name] for name in COLUMNS]
        for place, cells in enumerate(zip(*columns, strict=True)):
            line = None if self._batch.lines is None else self._batch.lines[place]
            self._where = {"source": self._source, "row": self._batch.rows[place], "line": line}
            row_documents = list(documents(dict(zip(COLUMNS, cells, strict=True))))
            # A response is one line of a file and many rows of the log.
            self._reader.rows_read += max(0, len(row_documents) - 1)
            if not row_documents:
                self._reader.ignore("responses without documents")
            for self._number, document in enumerate(row_documents):
                self._read(document)

    def _read(self, document: Mapping[str, Any] | None) -> None:
        if document is None:
            self._reader.ignore("bulk actions")
            return
        try:
            if has(document, "action_name"):
                self._event(document)
            else:
                self._query(document)
        except RejectedValueError as problem:
            value = shown(document.get(self._column))
            self._reader.rejects.add(
                Reject(**self._where, column=self._column, reason=problem.reason, detail=problem.detail, value=value)
            )

    def _query(self, document: Mapping[str, Any]) -> None:
        query = self._cell(document, "query_id", id_cell)
        if not has(document, "user_query"):
            # Allowed by the schema: a recommendation is a query without words.
            self._reader.ignore("queries without user_query")
            self.queries.append({"query_id": query, "keyphrase": None, "logged": True, **self._where})
            return
        keyphrase = self._keyphrase(document)
        self._column = next((name for name in HITS if has(document, name)), HITS[0])
        ids = [id_cell(item) for item in listed(document[self._column])] if has(document, self._column) else []
        self.queries.append({"query_id": query, "keyphrase": keyphrase, "logged": True, **self._where})
        logged_at = _sortable(document.get("timestamp"))
        for place, item in enumerate(ids, start=1):
            page = {"logged_at": logged_at, "source": self._source, "row": self._where["row"], "document": self._number}
            self.listed.append({"query_id": query, "item_id": item, "place": place, **page})

    def _event(self, document: Mapping[str, Any]) -> None:
        action = str(document["action_name"]).strip()
        clicked = action in self._options.click_actions
        if not clicked and action not in self._options.impression_actions:
            if action in self._options.sale_actions:
                self._sale(document)
            else:
                self._ignore_action(action)
            return
        if not has(document, "query_id"):
            self._reader.ignore("events without query_id")
            return
        self._column = "event_attributes"
        fields = attributes(document)
        query = self._cell(document, "query_id", id_cell)
        item = self._cell(fields, OBJECT, id_cell)
        application = str(document["application"]).strip() if has(document, "application") else None
        ordinal = self._ordinal(fields, application)
        keyphrase = None
        if has(document, "user_query"):
            keyphrase = self._keyphrase(document)
            self.queries.append({"query_id": query, "keyphrase": keyphrase, "logged": False, **self._where})
        for name in TITLES:
            if item not in self.titles and has(fields, name):
                self.titles[item] = self._cell(fields, name, text_cell)
        event = {"query_id": query, "item_id": item, "place": ordinal, "clicked": clicked, "keyphrase": keyphrase}
        self.events.append({**event, **self._where})

    def _sale(self, document: Mapping[str, Any]) -> None:
        self._column = "event_attributes"
        fields = attributes(document)
        if not has(document, "query_id") or not has(fields, OBJECT):
            # What is bought in a basket often names neither.
            self._reader.ignore("sales without query_id or item")
            return
        query, item = self._cell(document, "query_id", id_cell), self._cell(fields, OBJECT, id_cell)
        self.sales.append({"query_id": query, "item_id": item})

    def _ordinal(self, fields: Mapping[str, Any], application: str | None) -> int | None:
        self._column = ORDINAL
        self._ordinals.add(application, fields.get(ORDINAL))
        first = self._options.stated_first(application)
        ordinal = count_cell(fields.get(ORDINAL))
        if ordinal is None:
            return None
        if ordinal < (1 if first is None else first):
            option = first_position_option(application, 0)
            raise RejectedValueError(
                Reason.BAD_NUMBER, f"is ordinal 0; if this client counts from 0, give {option}, otherwise count from 1"
            )
        return min(ordinal + 1 - (1 if first is None else first), _MAX_PLACE)

    def _ignore_action(self, action: str) -> None:
        description = f"events with the action {shown(action)!r}"
        ignored = self._reader.ignored
        if description not in ignored and len(ignored) >= _MOST_ACTIONS:
            description = "events with further actions"
        self._reader.ignore(description)

    def _keyphrase(self, document: Mapping[str, Any]) -> str:
        words: str = self._cell(
            document, "user_query", lambda value: keyphrase_cell(value, self._reader.max_keyphrase_chars)
        )
        return words

    def _cell(self, fields: Mapping[str, Any], column: str, parse: Any) -> Any:
        self._column = column
        return parse(fields[column] if has(fields, column) else None)


def _sortable(timestamp: object) -> str | None:
    """A time as text whose order is that of times; None where its form is unknown.

    >>> _sortable(1700000000000), _sortable("Nov 28, 2026 @ 10:00:00.000")
    ('00000001700000000000', None)
    """
    if isinstance(timestamp, int):
        return f"{timestamp:020d}"
    text = timestamp.strip() if isinstance(timestamp, str) else ""
    return text.zfill(20) if text.isdecimal() else text if _ISO_TIME.fullmatch(text) else None
