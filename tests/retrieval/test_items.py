"""Items of files: the free fields that a student reads, as columns or in an object."""

import json
from pathlib import Path

from keydistill.retrieval import Item, read_items
from keydistill.tables import RejectLog


def test_free_fields_are_columns_or_in_an_object(tmp_path: Path) -> None:
    columns, lines = tmp_path / "items.csv", tmp_path / "items.jsonl"
    columns.write_text("item_id,title,brand,price\n1,shoe, Ac  me ,7\n2,boot,,8\n")
    rows = [
        {"item_id": "3", "title": "sock", "fields": {"brand": "Acme", "color": "red"}},
        {"item_id": "4", "title": "hat", "brand": "Other", "fields": {"brand": "Acme"}},
        {"item_id": "5", "title": "cap", "fields": None},
        {"item_id": "6", "title": "tee", "brand": {"name": "Acme", "lines": ["One", "Two"], "owner": None}},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with RejectLog() as rejects:
        batches = list(read_items([columns, lines], rejects, fields=("brand",)))
    assert rejects.count == 0
    assert [(item.item_id, dict(item.fields)) for batch in batches for item in batch] == [
        ("1", {"brand": "Ac me"}),
        ("2", {"brand": None}),
        ("3", {"brand": "Acme"}),
        ("4", {"brand": "Other"}),
        ("5", {"brand": None}),
        ("6", {"brand": "name Acme lines One Two"}),
    ]
    with RejectLog() as rejects:
        assert list(read_items([columns], rejects)) == [[Item("1", "shoe"), Item("2", "boot")]]
