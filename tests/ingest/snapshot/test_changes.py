import json
import random
from pathlib import Path
from typing import Any

import pytest

from keydistill.ingest.collection.points import payloads
from keydistill.ingest.snapshot import Snapshot, SnapshotSettings, build_snapshot
from keydistill.ingest.snapshot.changes import ChangeCounts, SnapshotChanges, compare

SETTINGS = SnapshotSettings(part_rows=7, max_reject_share=0.5, max_keyphrase_chars=200, memory_mb=64)

Row = dict[str, Any]


def snapshot(folder: Path, rows: list[Row]) -> Snapshot:
    folder.mkdir(parents=True)
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return build_snapshot([file], folder / "snapshot", SETTINGS, lambda texts: [len(text.split()) for text in texts])


def content(snapshot: Snapshot) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, rows in snapshot.tables():
        ids = rows.column("point_id").to_pylist()
        found.update(zip(ids, (json.dumps(payload, sort_keys=True) for payload in payloads(rows)), strict=True))
    return found


def applied(before: dict[str, str], changes: SnapshotChanges) -> dict[str, str]:
    after = dict(before)
    for rows in changes.written():
        ids = rows.column("point_id").to_pylist()
        after.update(zip(ids, (json.dumps(payload, sort_keys=True) for payload in payloads(rows)), strict=True))
    for ids in changes.removed():
        for id in ids:
            after.pop(id, None)
    return after


def row(number: int, **fields: object) -> Row:
    return {"keyphrase": f"phrase number {number}", "site": "US", "search_volume": number, **fields}


def test_counts_say_what_becomes_of_each_row(tmp_path: Path) -> None:
    old = snapshot(tmp_path / "old", [row(number) for number in range(20)])
    new = snapshot(
        tmp_path / "new",
        [
            *(row(number) for number in range(2, 10)),
            row(10, search_volume=999),
            row(11, site="DE"),
            row(12, category_path="A > B"),
            row(13, brand="x"),
            row(14, language="de"),
            *(row(number) for number in range(15, 21)),
        ],
    )
    with compare([old], new, tmp_path / "work", 64) as changes:
        # Another site is another row: one came, one went.
        assert changes.counts == ChangeCounts(added=2, changed=4, removed=3, unchanged=13)
        assert changes.counts.any
        assert applied(content(old), changes) == content(new)


def test_the_same_rows_in_another_order_are_no_change(tmp_path: Path) -> None:
    rows = [row(number) for number in range(30)]
    old = snapshot(tmp_path / "old", rows)
    random.Random(0).shuffle(rows)
    new = snapshot(tmp_path / "new", rows)
    with compare([old], new, tmp_path / "work", 64) as changes:
        assert changes.counts == ChangeCounts(added=0, changed=0, removed=0, unchanged=30)
        assert not changes.counts.any
        assert list(changes.written()) == []
        assert list(changes.removed()) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_collection_that_holds_some_of_each_of_several_snapshots_comes_to_the_last_one(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)

    def some(name: str) -> Snapshot:
        numbers = [number for number in range(40) if chance.random() < 0.6]
        return snapshot(tmp_path / name, [row(n, search_volume=chance.randrange(3)) for n in numbers] or [row(0)])

    first, second, third = some("first"), some("second"), some("third")
    # What a sync to `second` left that was killed in the middle.
    half = dict(content(first))
    for id in {*content(first), *content(second)}:
        if chance.random() < 0.5:
            half.pop(id, None)
            if id in content(second):
                half[id] = content(second)[id]
    with compare([first, second], third, tmp_path / "work", 64) as changes:
        assert applied(half, changes) == content(third)


def test_a_folder_with_a_quote_in_its_name(tmp_path: Path) -> None:
    old = snapshot(tmp_path / "it's old", [row(1)])
    with compare([old], snapshot(tmp_path / "new", [row(2)]), tmp_path / "work", 64) as changes:
        assert (changes.counts.added, changes.counts.removed) == (1, 1)
