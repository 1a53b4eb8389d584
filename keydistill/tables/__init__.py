"""Tables that others give us: CSV, JSONL and Parquet, row by row, with every row that is not usable accounted for."""

from keydistill.tables.categories import PATH_SEPARATOR, Categories, leaf_category
from keydistill.tables.cells import (
    MAX_LABEL_CHARS,
    count_cell,
    id_cell,
    is_missing,
    keyphrase_cell,
    label_cell,
    number_cell,
    text_cell,
    type_name,
    yes_no_cell,
)
from keydistill.tables.normalization import normalize_keyphrase, normalize_label
from keydistill.tables.numbers import parse_json
from keydistill.tables.outputs import LIST_SEPARATOR, check_output, open_table
from keydistill.tables.raw_batch import MalformedRow, RawBatch
from keydistill.tables.readers import read_rows
from keydistill.tables.rejects import REJECT_SCHEMA, Reason, Reject, RejectedValueError, RejectLog, rejects_file, shown
from keydistill.tables.row_problems import RowProblems
from keydistill.tables.sources import Kind, Source, SourceRecord, open_source, total_rows
from keydistill.tables.validated import Columns, Validate, read_valid

__all__ = [
    "LIST_SEPARATOR",
    "MAX_LABEL_CHARS",
    "PATH_SEPARATOR",
    "REJECT_SCHEMA",
    "Categories",
    "Columns",
    "Kind",
    "MalformedRow",
    "RawBatch",
    "Reason",
    "Reject",
    "RejectLog",
    "RejectedValueError",
    "RowProblems",
    "Source",
    "SourceRecord",
    "Validate",
    "check_output",
    "count_cell",
    "id_cell",
    "is_missing",
    "keyphrase_cell",
    "label_cell",
    "leaf_category",
    "normalize_keyphrase",
    "normalize_label",
    "number_cell",
    "open_source",
    "open_table",
    "parse_json",
    "read_rows",
    "read_valid",
    "rejects_file",
    "shown",
    "text_cell",
    "total_rows",
    "type_name",
    "yes_no_cell",
]
