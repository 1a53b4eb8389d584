import csv
import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keydistill.errors import InputError, StorageError, TooManyRejectsError
from keydistill.ingest.inventory import BATCH_ROWS, point_id, text_hash
from keydistill.ingest.snapshot import PART_SCHEMA, Snapshot, SnapshotSettings, build_snapshot, would_be_the_same
from keydistill.settings import load_settings
from keydistill.tables import REJECT_SCHEMA
from tests.support.heard_progress import HeardProgress

SETTINGS = SnapshotSettings(part_rows=1_000, max_reject_share=0.05, max_keyphrase_chars=200, memory_mb=64)
Row = dict[str, Any]


def count_tokens(texts: Sequence[str]) -> list[int]:
    assert len(set(texts)) == len(texts)
    return [len(text.split()) + 2 for text in texts]


def jsonl(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def build(out: Path, *files: Path, limits: SnapshotSettings = SETTINGS, **options: Any) -> Snapshot:
    return build_snapshot(files, out, limits, count_tokens, **options)


def rows_of(snapshot: Snapshot) -> list[Row]:
    return [row for _, table in snapshot.tables() for row in table.to_pylist()]


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def some_rows(count: int, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    words = ["red", "Blue", "shoes", "case", "iphone 15", "café", "LAMP"]
    return [
        {
            "keyphrase": " ".join(rng.choices(words, k=rng.randint(1, 6))),
            "site": rng.choice(["US", "UK", None]),
            "category_path": rng.choice([None, "A > B", "A > C | D"]),
            "search_volume": rng.choice([None, 0, 1, 2]),
            "language": rng.choice([None, "en", "de"]),
            "brand": rng.choice([None, "x", 1, ["y", 2.5]]),
        }
        for _ in range(count)
    ]


def test_settings_are_taken_from_all_settings() -> None:
    loaded = load_settings(part_rows=7, memory_mb=99)
    assert SnapshotSettings.of(loaded) == SnapshotSettings(7, loaded.max_reject_share, loaded.max_keyphrase_chars, 99)


def test_a_row_becomes_a_point(tmp_path: Path) -> None:
    row = {
        "keyphrase": "Red  SHOES",
        "site": 0,
        "category_path": "Home & Kitchen > Rugs|Sale",
        "category_ids": [77, "B9"],
        "search_volume": 12.0,
        "language": "en",
        "brand": "Acme",
        "tags": ["b", "a"],
        "bid": 0.25,
        "empty": "",
        "none": None,
    }
    snapshot = build(tmp_path / "out", jsonl(tmp_path / "a.jsonl", [row]))
    assert rows_of(snapshot) == [
        {
            "point_id": point_id("0", "red shoes"),
            "keyphrase": "red shoes",
            "site": "0",
            "category_ids": ["77", "B9", "Home & Kitchen", "Home & Kitchen > Rugs", "Sale"],
            "search_volume": 12,
            "language": "en",
            "text_hash": text_hash("red shoes"),
            "tokens": 4,
            "payload": '{"bid":0.25,"brand":"Acme","tags":["b","a"]}',
        }
    ]
    assert snapshot.read(0).schema.equals(PART_SCHEMA)


def test_only_a_keyphrase_is_needed(tmp_path: Path) -> None:
    snapshot = build(tmp_path / "out", jsonl(tmp_path / "a.jsonl", [{"keyphrase": "lamp"}]))
    (row,) = rows_of(snapshot)
    assert (row["category_ids"], row["site"], row["payload"], row["search_volume"]) == ([], None, None, None)
    assert snapshot.summary.without_category == 1


def test_all_formats_make_the_same_rows(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"keyphrase": "a b", "site": "US", "category_ids": "1|2", "search_volume": 3, "brand": "é"},
        {"keyphrase": "c", "site": None, "category_ids": None, "search_volume": None, "brand": None},
    ]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    jsonl(tmp_path / "a.jsonl", rows)
    lists = [{**row, "category_ids": row["category_ids"] and row["category_ids"].split("|")} for row in rows]
    pq.write_table(pa.Table.from_pylist(lists), tmp_path / "a.parquet")
    pandas = pa.table(
        {
            "keyphrase": pa.array(["a b", "c"]).dictionary_encode(),
            "site": pa.array(["US", None], pa.large_string()),
            "category_ids": pa.array([[1.0, 2.0], None]),
            "search_volume": [3.0, float("nan")],
            "brand": pa.array(["é", None]).cast(pa.binary()),
        }
    )
    pq.write_table(pandas, tmp_path / "b.parquet")
    digests = {
        build(tmp_path / f"out-{name}", tmp_path / name).summary.digest
        for name in ("a.csv", "a.jsonl", "a.parquet", "b.parquet")
    }
    assert len(digests) == 1


def test_numbers_of_free_fields_keep_their_digits(tmp_path: Path) -> None:
    columns = {
        "price": pa.array([Decimal("19.99"), Decimal("20.00")], pa.decimal128(10, 2)),
        "tiny": pa.array([Decimal("0.00000001"), None], pa.decimal128(20, 8)),
        "code": pa.array([Decimal((1 << 63) - 1), Decimal(7)], pa.decimal128(38, 0)),
        "rate": pa.array([0.1, 0.5], pa.float32()),
        "bids": [[Decimal("1.10")], []],
    }
    single = float(np.float32(0.1))
    pq.write_table(pa.table({"keyphrase": ["a", "b"], **columns}), tmp_path / "a.parquet")
    payloads = [json.loads(row["payload"]) for row in rows_of(build(tmp_path / "out", tmp_path / "a.parquet"))]
    assert payloads == [
        {
            "price": "19.99",
            "tiny": "0.00000001",
            "code": (1 << 63) - 1,
            "rate": single,
            "bids": ["1.10"],
        },
        {"price": "20.00", "code": 7, "rate": 0.5, "bids": []},
    ]


def test_parts_are_full_and_sorted(tmp_path: Path) -> None:
    rows = [{"keyphrase": f"{'w ' * (n % 5)}{n}", "site": site} for n in range(1_700) for site in ("US", "UK")]
    snapshot = build(tmp_path / "out", jsonl(tmp_path / "a.jsonl", rows))
    assert [part.rows for part in snapshot.parts] == [1_000, 1_000, 1_000, 400]
    assert [part.path.name for part in snapshot.parts] == [f"part-0000{n}.parquet" for n in range(4)]
    keys = [(row["tokens"], row["keyphrase"].encode(), row["site"]) for row in rows_of(snapshot)]
    assert keys == sorted(keys)
    assert (snapshot.summary.rows, snapshot.summary.texts) == (3_400, 1_700)
    assert [part.number for part, _ in snapshot.tables(2)] == [2, 3]
    exact = build(tmp_path / "exact", tmp_path / "a.jsonl", limits=replace(SETTINGS, part_rows=1_700))
    assert [part.rows for part in exact.parts] == [1_700, 1_700]
    assert exact.summary.digest == snapshot.summary.digest


def test_the_order_of_rows_and_files_has_no_effect(tmp_path: Path) -> None:
    rows = some_rows(6_000)
    jsonl(tmp_path / "a.jsonl", rows[:3_000])
    jsonl(tmp_path / "b.jsonl", rows[3_000:])
    first = build(tmp_path / "one", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    again = build(tmp_path / "two", tmp_path / "b.jsonl", tmp_path / "a.jsonl")
    assert content(first.folder) == content(again.folder)
    random.Random(1).shuffle(rows)
    shuffled = build(tmp_path / "three", jsonl(tmp_path / "c.jsonl", rows))
    assert [part.sha256 for part in shuffled.parts] == [part.sha256 for part in first.parts]
    assert shuffled.summary.digest == first.summary.digest
    assert first.summary.rows_merged == 6_000 - first.summary.rows > 1_000


def test_rows_of_one_keyphrase_merge_across_batches(tmp_path: Path) -> None:
    count = BATCH_ROWS * 2 + 10
    rows = [{"keyphrase": "Same ", "category_ids": [f"c{n % 50}"], "search_volume": n, "n": n} for n in range(count)]
    snapshot = build(tmp_path / "out", jsonl(tmp_path / "a.jsonl", [*rows, {"keyphrase": "other"}]))
    other, same = rows_of(snapshot)
    assert other["keyphrase"] == "other"
    assert same["category_ids"] == sorted({f"c{n}" for n in range(50)})
    assert (same["search_volume"], same["payload"]) == (count - 1, f'{{"n":{count - 1}}}')
    assert snapshot.summary.rows_merged == count - 1


def merged_by_hand(rows: list[Row]) -> Row:
    def rank(row: Row) -> tuple[int, bool, str, bool, str]:
        text = json.dumps({"b": row["b"]}, separators=(",", ":")) if row["b"] is not None else None
        volume = -1 if row["search_volume"] is None else row["search_volume"]
        return -volume, row["language"] is None, row["language"] or "", text is None, text or ""

    best = min(rows, key=rank)
    return {
        "search_volume": best["search_volume"],
        "language": best["language"],
        "payload": None if best["b"] is None else json.dumps({"b": best["b"]}, separators=(",", ":")),
        "category_ids": sorted({category for row in rows for category in row["category_ids"]}),
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "keyphrase": st.sampled_from(["a", "A ", "b"]),
                "site": st.sampled_from([None, "", "a"]),
                "search_volume": st.none() | st.integers(0, 2),
                "language": st.sampled_from([None, "de", "en"]),
                "category_ids": st.lists(st.sampled_from("xyz"), max_size=2),
                "b": st.none() | st.sampled_from(["p", "q", 1]),
            }
        ),
        min_size=1,
        max_size=12,
    )
)
def test_merging_keeps_the_row_with_the_largest_volume(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    snapshot = build(folder / "out", jsonl(folder / "a.jsonl", rows))
    groups: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["site"] or None, row["keyphrase"].strip().lower()), []).append(row)
    merged_rows = {(row["site"], row["keyphrase"]): row for row in rows_of(snapshot)}
    assert merged_rows.keys() == groups.keys()
    for key, group in groups.items():
        expected = merged_by_hand(group)
        assert {name: merged_rows[key][name] for name in expected} == expected


def test_a_tree_gives_ancestors(tmp_path: Path) -> None:
    (tmp_path / "tree.csv").write_text("category_id,parent_id\n3,2\n1,\n2,1\n9,\n")
    path = jsonl(tmp_path / "a.jsonl", [{"keyphrase": "a", "category_ids": [3], "category_path": "X > Y"}])
    snapshot = build(tmp_path / "out", path, categories=tmp_path / "tree.csv")
    assert rows_of(snapshot)[0]["category_ids"] == ["1", "2", "3", "X", "X > Y"]
    assert snapshot.summary.categories is not None
    assert snapshot.summary.categories.path.endswith("tree.csv")


def test_rejects_are_kept_with_the_snapshot(tmp_path: Path) -> None:
    rows = [{"keyphrase": f"k {n}"} for n in range(98)]
    path = jsonl(tmp_path / "a.jsonl", [*rows, {"keyphrase": " "}, {"keyphrase": "\x00" * 300}])
    snapshot = build(tmp_path / "out", path)
    table = pq.read_table(snapshot.rejects)
    assert table.schema.equals(REJECT_SCHEMA)
    assert [(row["source"], row["row"], row["line"], row["reason"]) for row in table.to_pylist()] == [
        (str(path), 99, 99, "empty"),
        (str(path), 100, 100, "control_character"),
    ]
    summary = snapshot.summary
    assert (summary.rows_read, summary.rows_rejected, summary.rows) == (100, 2, 98)
    assert summary.rejects_by_reason == {"control_character": 1, "empty": 1}
    assert pq.read_table(build(tmp_path / "clean", jsonl(tmp_path / "b.jsonl", rows)).rejects).num_rows == 0


def test_too_many_rejects_leave_only_the_rejects(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"keyphrase": f"k {n}"} for n in range(94)] + [{"keyphrase": ""}] * 6)
    out = tmp_path / "runs" / "out"
    with pytest.raises(TooManyRejectsError) as error:
        build(out, path)
    kept = tmp_path / "runs" / "out.rejects.parquet"
    assert "6 of 100 rows were rejected (6.00%)" in str(error.value)
    assert "(5.00%); mostly: empty 6" in str(error.value)
    assert str(kept) in str(error.value)
    assert list(out.parent.iterdir()) == [kept]
    assert pq.read_table(kept).num_rows == 6
    build(out, path, limits=replace(SETTINGS, max_reject_share=0.06))
    assert list(out.parent.iterdir()) == [out]


def test_all_rows_rejected_is_no_snapshot_whatever_the_threshold(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"keyphrase": ""}])
    with pytest.raises(TooManyRejectsError, match="all 1 rows were rejected; mostly: empty 1; all of them"):
        build(tmp_path / "out", path, limits=replace(SETTINGS, max_reject_share=1.0))


def test_opening_finds_what_was_built(tmp_path: Path) -> None:
    built = build(tmp_path / "out", jsonl(tmp_path / "a.jsonl", some_rows(2_500)), token_counter="words")
    opened = Snapshot.open(tmp_path / "out")
    assert opened == built
    assert opened.summary.token_counter == "words"
    assert opened.summary.sources[0].sha256 == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert opened.summary.bytes == sum(part.path.stat().st_size for part in opened.parts)
    lengths = [row["tokens"] for row in rows_of(opened)]
    assert (opened.summary.tokens, opened.summary.max_tokens) == (sum(lengths), max(lengths))
    with pytest.raises(InputError, match="has parts 0 to"):
        opened.read(len(opened.parts))


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    return build(tmp_path / "out", jsonl(tmp_path / "a.jsonl", [{"keyphrase": "a"}, {"keyphrase": "b"}])).folder


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no complete snapshot"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not of format 2"),
        (lambda folder: edit(folder, lambda found: found.update(format=3)), "was written by a newer keydistill"),
        (lambda folder: edit(folder, lambda found: found.pop("parts")), "is damaged"),
        (lambda folder: edit(folder, lambda found: found.update(summary=3)), "is damaged"),
        (lambda folder: edit(folder, lambda found: found["summary"].update(extra=1)), "is damaged"),
        (lambda folder: edit(folder, lambda found: found["summary"].update(rows="many")), "damaged .rows is 'many'"),
        (lambda folder: edit(folder, lambda found: found["parts"].pop()), "contradicts itself"),
        (lambda folder: (folder / "part-00000.parquet").unlink(), "part-00000.parquet is missing"),
        (lambda folder: (folder / "part-00000.parquet").write_bytes(b"PAR1"), "has 4 bytes, not"),
    ],
)
def test_a_damaged_snapshot_does_not_open(complete: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(complete)
    with pytest.raises(InputError, match=message):
        Snapshot.open(complete)


def test_a_part_that_was_altered_is_not_read(complete: Path) -> None:
    part = complete / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    snapshot = Snapshot.open(complete)
    with pytest.raises(InputError, match="not what was written"):
        snapshot.read(0)
    part.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        snapshot.read(0)


def test_a_snapshot_is_never_overwritten(complete: Path, tmp_path: Path) -> None:
    before = content(complete)
    with pytest.raises(StorageError, match="never overwritten"):
        build(complete, tmp_path / "a.jsonl")
    assert content(complete) == before
    (tmp_path / "empty").mkdir()
    build(tmp_path / "empty", tmp_path / "a.jsonl")


def test_a_token_counter_must_count_every_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"keyphrase": "a"}, {"keyphrase": "b"}])
    with pytest.raises(ValueError, match="1 numbers for 2 texts"):
        build_snapshot([path], tmp_path / "out", SETTINGS, lambda texts: [1])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.jsonl"]


def test_progress(tmp_path: Path) -> None:
    progress = HeardProgress()
    path = jsonl(tmp_path / "a.jsonl", some_rows(100))
    build(tmp_path / "out", path, progress=progress)
    assert (progress.steps, progress.counts) == ([("snapshot", None, "rows")], [100])


def test_a_snapshot_of_earlier_rules_is_read_and_never_taken_over(complete: Path, tmp_path: Path) -> None:
    present = Snapshot.open(complete)
    files = [source.path for source in present.summary.sources]
    assert would_be_the_same(present, files, None, SETTINGS)
    assert present.settings.same_rules(SETTINGS)

    def as_before(manifest: dict[str, Any]) -> None:
        manifest["format"] = 1
        for name in ("decimal_comma", "missing_values", "rules"):
            del manifest["settings"][name]

    edit(complete, as_before)
    earlier = Snapshot.open(complete)
    assert (earlier.settings.rules, rows_of(earlier)) == (1, rows_of(present))
    assert not would_be_the_same(earlier, files, None, SETTINGS)
    assert not earlier.settings.same_rules(SETTINGS)


@pytest.mark.parametrize(("name", "value"), [("decimal_comma", True), ("missing_values", ("k.A.",))])
def test_other_conventions_make_another_snapshot(complete: Path, tmp_path: Path, name: str, value: Any) -> None:
    other = SnapshotSettings.of(load_settings(**{name: value}))
    assert getattr(other, name) == value
    present = Snapshot.open(complete)
    assert not present.settings.same_rules(replace(SETTINGS, **{name: value}))
    file = jsonl(tmp_path / "b.jsonl", [{"keyphrase": "k.A.", "search_volume": "1.000"}, {"keyphrase": "b"}])
    limits = replace(SETTINGS, max_reject_share=0.5, **{name: value})
    built = build(tmp_path / "other", file, limits=limits)
    assert Snapshot.open(built.folder).settings == limits
    volumes = {row["keyphrase"]: row["search_volume"] for row in rows_of(built)}
    assert volumes == ({"b": None, "k.a.": 1_000} if name == "decimal_comma" else {"b": None})
