"""Tables that others give us: CSV, JSONL and Parquet, row by row, with every row that is not usable accounted for."""

from tables.categories import PATH_SEPARATOR, Categories, leaf_category
from tables.normalization import normalize_keyphrase, normalize_label
from tables.raw_batch import RawBatch
from tables.readers import read_rows
from tables.rejects import REJECT_SCHEMA, Reason, Reject, RejectedValueError, RejectLog, shown
from tables.sources import open_source, total_rows

__all__ = [
    "PATH_SEPARATOR",
    "REJECT_SCHEMA",
    "Categories",
    "RawBatch",
    "Reason",
    "Reject",
    "RejectLog",
    "RejectedValueError",
    "leaf_category",
    "normalize_keyphrase",
    "normalize_label",
    "open_source",
    "read_rows",
    "shown",
    "total_rows",
]
