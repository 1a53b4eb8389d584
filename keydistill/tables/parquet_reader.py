"""Parquet, in batches, also where text was stored as bytes or is not valid UTF-8."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.errors import InputError
from keydistill.tables.numbers import Float16, Float32
from keydistill.tables.parquet_pages import MAX_PAGE_BYTES, Page, has_long_text, pages_of
from keydistill.tables.raw_batch import BATCH_ROWS, Header, RawBatch
from keydistill.tables.sources import Source

# Stands for a value whose bytes are not UTF-8, as `surrogateescape` would have made it.
_UNDECODABLE = "\udcff"
# A batch in which every row repeats a value of this size is as large as a page may be.
_LONG_BYTES = MAX_PAGE_BYTES // BATCH_ROWS


def read_parquet(source: Source, header: Header) -> Iterator[RawBatch]:
    """Rows of a Parquet file; dates and times come as ISO text."""
    # Without `pre_buffer` and with a buffer, pages are streamed instead of whole column chunks.
    parquet = pq.ParquetFile(source.stream, pre_buffer=False, buffer_size=1 << 20)
    schema = parquet.schema_arrow
    ours = dict(zip(schema.names, header.renamed(schema.names), strict=True))
    header.check(source, list(ours.values()) if len(ours) == len(schema.names) else schema.names)
    names = [name for name, own_name in ours.items() if header.extras or own_name in header.known]
    for column in schema:
        if header.extras and not _is_supported(column.type):
            raise InputError(
                f"{source.path}: column {column.name!r} has the type {column.type}; expected text, numbers, booleans, "
                "dates, or lists of them; convert or drop it"
            )
    keyphrase = next((name for name, own_name in ours.items() if own_name == "keyphrase"), "")
    if "keyphrase" in header.required and not _is_text(schema.field(keyphrase).type):
        stored_type = schema.field(keyphrase).type
        raise InputError(f"{source.path}: column 'keyphrase' has the type {stored_type}; expected text")
    text_columns = {name for name in names if _is_text(schema.field(name).type)}
    batch_rows, long_columns = _check_sizes(source, parquet.metadata, names, text_columns)
    if long_columns:
        # Their dictionaries stay: a long value that thousands of rows repeat is there once.
        parquet = pq.ParquetFile(source.stream, pre_buffer=False, buffer_size=1 << 20, read_dictionary=long_columns)
    others = [name for name in names if ours[name] not in header.known]
    first = 1
    # Arrow's threads and a Python file can abort or hang the interpreter when it exits
    # (https://github.com/apache/arrow/issues/50482).
    for batch in parquet.iter_batches(batch_size=batch_rows, columns=names, use_threads=False):
        values_of = {name: _values(batch.column(name)) for name in names}
        absent: list[object] = [None] * batch.num_rows
        read_columns = {ours[name]: values for name, values in values_of.items()}
        columns = {name: read_columns.get(name, absent) for name in header.known}
        extras = None
        if others:
            cells = zip(*(values_of[name] for name in others), strict=True)
            extras = [dict(zip(others, row, strict=True)) for row in cells]
        yield RawBatch(range(first, first + batch.num_rows), None, columns, extras)
        first += batch.num_rows


def _check_sizes(
    source: Source, metadata: pq.FileMetaData, names: Sequence[str], text_columns: set[str]
) -> tuple[int, list[str]]:
    """Rows per batch with which memory stays bounded, and those of text whose dictionaries have long values.

    Raises:
        InputError: A page is too large to be decompressed, or its header is damaged.
    """
    wanted = set(names)
    long_columns: set[str] = set()
    row_bytes = 1
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            name = chunk.path_in_schema.partition(".")[0]
            if name not in wanted:
                continue
            for page in _pages(source, chunk):
                if page.bytes > MAX_PAGE_BYTES:
                    raise InputError(
                        f"{source.path}: column {name!r} has a page of {page.bytes:,} bytes; at most "
                        f"{MAX_PAGE_BYTES:,} are read; shorten its cells, or write smaller pages"
                    )
                if page.values:
                    # A value may be written as what it shares with the one before it: then each can be as long as
                    # the page, and their number says nothing.
                    shares = "DELTA_BYTE_ARRAY" in chunk.encodings
                    row_bytes = max(row_bytes, page.bytes if shares else page.bytes // page.values)
                elif name in text_columns - long_columns and has_long_text(source.stream, chunk, page, _LONG_BYTES):
                    long_columns.add(name)
    return max(1, min(BATCH_ROWS, MAX_PAGE_BYTES // row_bytes)), sorted(long_columns)


def _pages(source: Source, chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    try:
        yield from pages_of(source.stream, chunk)
    except ValueError as error:
        source.check_unchanged()
        raise InputError(f"{source.path} is truncated or damaged ({error}); copy it again") from None


def _values(array: pa.Array) -> Sequence[object]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        # Of a dictionary that is larger than the batch, only what the batch has.
        used = array.indices.dictionary_encode()
        distinct = _values(array.dictionary.take(used.dictionary))
        return [None if place is None else distinct[place] for place in used.indices.to_pylist()]
    if pa.types.is_temporal(kind):
        array = _as_text(array)
    elif pa.types.is_large_binary(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        values: list[bytes | None] = array.to_pylist()
        return [None if value is None else value.decode(errors="surrogateescape") for value in values]
    try:
        cells: list[object] = array.to_pylist()
    except UnicodeDecodeError:
        cells = [_value(array[position]) for position in range(len(array))]
    narrowed = _narrowed(kind)
    return cells if narrowed is None else [narrowed(cell) for cell in cells]


def _as_text(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        # The name of a time zone is one that this machine does not know; the moments are there all the same.
        return array.cast(pa.timestamp(array.type.unit, "UTC")).cast(pa.string())


def _narrowed(kind: pa.DataType) -> Callable[[Any], object] | None:
    """What marks floats of less than double precision in a cell of this type, also within lists and structs."""
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        narrow = Float32 if pa.types.is_float32(kind) else Float16
        return lambda cell: None if cell is None else narrow(cell)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        element = _narrowed(kind.value_type)
        return element and (lambda cell: None if cell is None else [element(each) for each in cell])
    if pa.types.is_struct(kind):
        fields = {field.name: narrowed for field in kind if (narrowed := _narrowed(field.type)) is not None}
        if fields:
            return lambda cell: (
                None if cell is None else {**cell, **{name: narrowed(cell[name]) for name, narrowed in fields.items()}}
            )
    return None


def _value(scalar: pa.Scalar) -> object:
    try:
        value: object = scalar.as_py()
    except UnicodeDecodeError:
        return _UNDECODABLE
    return value


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def _is_supported(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        element = kind.value_type
        return not pa.types.is_temporal(element) and _is_scalar(element)
    return _is_scalar(kind)


def _is_scalar(kind: pa.DataType) -> bool:
    if pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return False
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_decimal,
        pa.types.is_temporal,
        pa.types.is_fixed_size_binary,
    )
    return _is_text(kind) or any(test(kind) for test in tests)
