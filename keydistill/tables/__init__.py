"""Tables that others give us: CSV, JSONL and Parquet, row by row, with every row that is not usable accounted for."""

from keydistill.tables.categories import (
    LIST_SEPARATOR,
    PATH_SEPARATOR,
    Categories,
    leaf_category,
    leaf_name,
    path_of,
)
from keydistill.tables.category_hints import CategoryHints
from keydistill.tables.cells import (
    MAX_LABEL_CHARS,
    count_cell,
    field_cell,
    id_cell,
    is_missing,
    keyphrase_cell,
    label_cell,
    number_cell,
    text_cell,
    type_name,
    yes_no_cell,
)
from keydistill.tables.column_names import ALIASES
from keydistill.tables.conventions import MISSING_VALUES, USUAL, Conventions
from keydistill.tables.normalization import RULES, normalize_keyphrase, normalize_label
from keydistill.tables.numbers import parse_json
from keydistill.tables.outputs import check_output, open_table
from keydistill.tables.raw_batch import MalformedRow, RawBatch, plain_name
from keydistill.tables.readers import read_rows
from keydistill.tables.rejects import REJECT_SCHEMA, Reason, Reject, RejectedValueError, RejectLog, rejects_file, shown
from keydistill.tables.row_problems import RowProblems
from keydistill.tables.sources import Kind, Source, SourceRecord, open_source, total_rows
from keydistill.tables.validated import Columns, Validate, read_valid

__all__ = [
    "ALIASES",
    "LIST_SEPARATOR",
    "MAX_LABEL_CHARS",
    "MISSING_VALUES",
    "PATH_SEPARATOR",
    "REJECT_SCHEMA",
    "RULES",
    "USUAL",
    "Categories",
    "CategoryHints",
    "Columns",
    "Conventions",
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
    "field_cell",
    "id_cell",
    "is_missing",
    "keyphrase_cell",
    "label_cell",
    "leaf_category",
    "leaf_name",
    "normalize_keyphrase",
    "normalize_label",
    "number_cell",
    "open_source",
    "open_table",
    "parse_json",
    "path_of",
    "plain_name",
    "read_rows",
    "read_valid",
    "rejects_file",
    "shown",
    "text_cell",
    "total_rows",
    "type_name",
    "yes_no_cell",
]
