"""JSONL, line by line, so that one bad row costs one row; and JSON files that hold a list of rows."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from keydistill.errors import InputError
from keydistill.tables.numbers import read_float
from keydistill.tables.raw_batch import BATCH_ROWS, Header, MalformedRow, RawBatch
from keydistill.tables.rejects import shown
from keydistill.tables.sources import Source
from keydistill.tables.text_lines import Lines, OverlongLineError, RowBuffer, text_of

# A document is held whole, several times over while it is taken apart.
MAX_DOCUMENT_CHARS = 64 << 20
# OpenSearch's judgment lists (https://docs.opensearch.org/latest/search-plugins/search-relevance/judgments/).
_JUDGED, _RATINGS = "judgmentRatings", "ratings"


def read_jsonl(source: Source, header: Header) -> Iterator[RawBatch]:
    """Rows of a file in UTF-8 with one JSON object per line."""
    with text_of(source) as text:
        yield from _jsonl_batches(Lines(text), source, header)


def read_json(source: Source, header: Header) -> Iterator[RawBatch]:
    """Rows of a JSON file: a list of objects, a search's answer, a judgment list; or JSONL under that name."""
    with text_of(source) as text:
        lines = Lines(text)
        while (first := lines.peek()).isspace():
            next(lines)
        if _is_row(first):
            yield from _jsonl_batches(lines, source, header)
            return
        document = "".join(_rest(lines, source))
    try:
        rows = list(_rows_in(_decode(document), header))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{source.path} is no JSON document ({error}); expected a list of objects, or one object per line"
        ) from None
    for start in range(0, len(rows), BATCH_ROWS):
        batch = RowBuffer(start + 1)
        batch.lines = None
        for row in rows[start : start + BATCH_ROWS]:
            if isinstance(row, dict):
                batch.add(row, 0, 0)
            else:
                detail = f"is a JSON {type(row).__name__}; expected an object"
                batch.malformed.append(MalformedRow(batch.next_row, None, detail, shown(row)))
                batch.next_row += 1
        yield _jsonl_batch(batch, source, header, first=start == 0)


def _is_row(line: str) -> bool:
    try:
        return isinstance(_decode(line), dict)
    except (ValueError, RecursionError):
        return False


def _rest(lines: Lines, source: Source) -> Iterator[str]:
    chars = 0
    while part := lines.take(MAX_DOCUMENT_CHARS - chars + 1):
        chars += len(part)
        if chars > MAX_DOCUMENT_CHARS:
            raise InputError(
                f"{source.path}: a JSON document of more than {MAX_DOCUMENT_CHARS:,} characters is not read; write "
                "one object per line (.jsonl)"
            )
        yield part


def _rows_in(document: object, header: Header) -> Iterator[object]:
    """The rows that a document holds, in the form that it has them."""
    if isinstance(document, list):
        for element in document:
            yield from _rows_in(element, header) if isinstance(element, dict) else [element]
        return
    if not isinstance(document, dict):
        raise ValueError(f"it is a JSON {type(document).__name__}")
    hits = document.get("hits")
    if isinstance(hits, dict) and isinstance(hits.get("hits"), list):
        yield from _rows_in(hits["hits"], header)
        return
    inner = document.get("_source")
    if isinstance(inner, dict) and ("_source" not in header.known or _JUDGED in inner):
        document = inner
    if isinstance(document.get(_JUDGED), list):
        yield from _judgments(document[_JUDGED])
    else:
        yield document


def _judgments(queries: list[Any]) -> Iterator[object]:
    for query in queries:
        if not isinstance(query, dict) or not isinstance(query.get(_RATINGS), list):
            yield query
            continue
        common = {name: value for name, value in query.items() if name != _RATINGS}
        for rating in query[_RATINGS]:
            yield {**common, **rating} if isinstance(rating, dict) else rating


def _jsonl_batches(lines: Lines, source: Source, header: Header) -> Iterator[RawBatch]:
    batch = RowBuffer(1)
    checked = False
    while True:
        lines.record = []
        try:
            text = next(lines)
            if text.isspace():
                continue
            row = _decode(text)
            if not isinstance(row, dict):
                raise ValueError(f"is a JSON {type(row).__name__}; expected an object")
            rows = list(_rows_in(row, header)) if _JUDGED in text else [row]
            if not all(isinstance(each, dict) for each in rows):
                raise ValueError("has a judgment that is no object")
        except StopIteration:
            break
        except (ValueError, RecursionError, OverlongLineError) as error:
            batch.add_malformed(f"cannot be read as a JSON object ({error})", lines.number, lines.record[0])
        else:
            for each in rows:
                batch.add(each, lines.number, len(text) // len(rows))
        if batch.full:
            yield _jsonl_batch(batch, source, header, first=not checked)
            checked = checked or bool(batch.rows)
            batch = RowBuffer(batch.next_row)
    if batch:
        yield _jsonl_batch(batch, source, header, first=not checked)


def _jsonl_batch(batch: RowBuffer, source: Source, header: Header, *, first: bool) -> RawBatch:
    objects: list[dict[str, object]] = batch.values
    names = list(dict.fromkeys(name for row in objects for name in row))
    renamed = {name: ours for name, ours in zip(names, header.renamed(names), strict=True) if name != ours}
    if renamed:
        objects = [{renamed.get(name, name): value for name, value in row.items()} for row in objects]
        names = [renamed.get(name, name) for name in names]
    # Objects may leave columns out; a column that none of the first thousands has is missing in the file.
    required = header.required if first and objects else ()
    replace(header, required=required).check(source, names)
    columns = {name: [row.get(name) for row in objects] for name in header.known}
    extras: list[dict[str, object]] | None = None
    if header.extras and any(name not in header.known for name in names):
        known = frozenset(header.known)
        extras = [{name: value for name, value in row.items() if name not in known} for row in objects]
    return RawBatch(batch.rows, batch.lines, columns, extras, batch.malformed)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("has a name twice")
    return record


def _no_constant(name: str) -> object:
    raise ValueError(f"has {name}, which is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=read_float).decode
