"""What a collection says of itself: read, written and kept, whoever wrote it."""

from typing import Any

import pytest
from pydantic import ValidationError

from keydistill.errors import VectorStoreError
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, MetadataChanges

WRITTEN = {
    "run": "20261128-1",
    "student": "/students/a",
    "student_version": "a-384d-1",
    "snapshot": "abc",
    "snapshot_run": "20261128-1",
    "journal": 0,
    "rows": 3,
    "payload_indexes": ["category_ids", "site"],
    "index": {"quantization": "int8", "hnsw_m": 16},
    "created_at": "2026-11-28T00:00:00+00:00",
    "applying": ["20261128-2"],
    "search": {"format": 1},
}


def info(metadata: dict[str, Any]) -> CollectionInfo:
    return CollectionInfo("keyphrases-1", "ready", 384, 3, {}, metadata)


def test_what_is_written_is_read_again() -> None:
    metadata = CollectionMetadata.parse(info(WRITTEN))
    assert (metadata.run, metadata.rows, metadata.applying) == ("20261128-1", 3, ("20261128-2",))
    assert metadata.as_dict() == WRITTEN
    assert metadata.lacking == []


def test_what_others_wrote_is_kept() -> None:
    theirs = {**WRITTEN, "owner": {"team": None, "since": [2024]}}
    assert CollectionMetadata.parse(info(theirs)).as_dict() == theirs


def test_an_old_collection_and_a_foreign_one_can_be_read() -> None:
    old = {name: WRITTEN[name] for name in ("run", "student", "student_version", "snapshot")}
    metadata = CollectionMetadata.parse(info(old))
    assert (metadata.journal, metadata.applying, metadata.as_dict()) == (None, None, old)
    assert metadata.lacking == ["snapshot_run", "journal", "rows", "payload_indexes", "created_at"]
    assert CollectionMetadata.parse(info({})).run is None
    # A server that is asked by gRPC gives whole numbers as floats.
    assert CollectionMetadata.parse(info({"journal": 3.0})).as_dict() == {"journal": 3}


@pytest.mark.parametrize(
    ("name", "value"), [("student", 5), ("journal", "three"), ("applying", "one"), ("index", [1]), ("rows", 2.5)]
)
def test_damaged_metadata_are_one_line(name: str, value: object) -> None:
    with pytest.raises(VectorStoreError) as caught:
        CollectionMetadata.parse(info({**WRITTEN, name: value}))
    message = str(caught.value)
    assert f"collection keyphrases-1 has damaged metadata: {name} is {value!r}" in message
    assert "keydistill reindex" in message
    assert "\n" not in message


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CollectionMetadata().run = "another"
    assert set(MetadataChanges.__annotations__) <= set(CollectionMetadata.model_fields)
