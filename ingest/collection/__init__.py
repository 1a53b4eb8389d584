"""From a snapshot to a collection: points, vectors, and whether what was built is what the snapshot says."""

from keydistill.ingest.collection.filter_counts import SAMPLE_ROWS
from keydistill.ingest.collection.ordered_work import in_turn
from keydistill.ingest.collection.points import (
    changes_of_storage,
    check_spec,
    collection_spec,
    index_settings,
    payload_bytes,
    payloads,
)
from keydistill.ingest.collection.space import check_space
from keydistill.ingest.collection.stored_vectors import RowVectors
from keydistill.ingest.collection.throttle import Throttle
from keydistill.ingest.collection.verification import verify

__all__ = [
    "SAMPLE_ROWS",
    "RowVectors",
    "Throttle",
    "changes_of_storage",
    "check_space",
    "check_spec",
    "collection_spec",
    "in_turn",
    "index_settings",
    "payload_bytes",
    "payloads",
    "verify",
]
