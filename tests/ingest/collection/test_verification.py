"""Verification: what a collection lacks is found, whatever it is."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keydistill.encoders import Student
from keydistill.encoders.runtime import TOLERANCE
from keydistill.errors import VerificationError
from keydistill.ingest.collection import filter_counts
from keydistill.ingest.collection.filter_counts import NamedFilter, filters_to_count, passing
from keydistill.ingest.collection.points import payloads
from keydistill.ingest.collection.verification import differing_field, verify
from keydistill.ingest.snapshot.profiles import SnapshotProfile, profile
from keydistill.ingest.snapshot.snapshot import Snapshot
from keydistill.vectorstore import (
    INDEXED_FIELDS,
    CollectionInfo,
    CollectionMetadata,
    CollectionSpec,
    Engine,
    Equals,
    Filter,
    PayloadField,
    PointBatch,
    Record,
    payload_indexes,
)
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.front_process import FrontProcess
from tests.support.gate_bench import Bench, losing, only_loads, open_bench
from tests.support.inventories import write_inventory

ROWS = 300


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


@pytest.fixture(params=["embedded", "server"])
def bench(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    front: FrontProcess,
    tiny_folder: Path,
    tiny_student: Student,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    only_loads(monkeypatch, tiny_student)
    with open_bench(request.param, tmp_path / "home", front.url, str(tiny_folder)) as opened:
        yield opened


@pytest.fixture
def embedded(
    tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    only_loads(monkeypatch, tiny_student)
    with open_bench("embedded", tmp_path / "home", "", str(tiny_folder)) as opened:
        yield opened


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory.csv", ROWS)


Change = Callable[[Engine, str, PointBatch], None]


def upserting(bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Every batch is written, then damaged by `change(engine, name, points)`."""
    kind = type(bench.engine)
    upsert = kind.upsert

    def damaged(self: Engine, name: str, points: PointBatch) -> None:
        upsert(self, name, points)
        change(self, name, points)

    monkeypatch.setattr(kind, "upsert", damaged)


def test_what_is_verified_is_in_the_report(bench: Bench, inventory: Path) -> None:
    report = bench.build(inventory).report
    assert report["points"] == report["rows_read_back"] == ROWS
    assert report["filters_counted"] > 20
    assert report["largest_cosine_distance"] < 1e-4


def test_of_many_rows_a_sample_is_looked_up(bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    kind = type(bench.engine)
    retrieve = kind.retrieve

    def noted(self: Engine, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Record]:
        asked.extend([] if with_vectors else ids)
        return retrieve(self, name, ids, with_vectors=with_vectors)

    monkeypatch.setattr(kind, "retrieve", noted)
    settings: dict[str, Any] = {"part_rows": 70, "reuse_vectors": False}
    first = bench.build(inventory, verify_rows=50, **settings)
    assert first.report["rows_read_back"] == len(set(asked)) == 50
    looked_up, asked[:] = set(asked), []
    # Another run looks elsewhere.
    second = bench.build(inventory, verify_rows=50, **settings)
    assert second.report["rows_read_back"] == 50
    assert set(asked) != looked_up
    assert bench.build(inventory, verify_rows=0, **settings).report["rows_read_back"] == ROWS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda engine, name, points: engine.delete(name, points.ids[7:8]), "has points 299, its snapshot says 300"),
        (
            lambda engine, name, points: engine.set_payload(name, points.ids[::5], {"note": "of another"}),
            "differs in 'note'",
        ),
    ],
    ids=["one row", "a fifth of the payloads"],
)
def test_a_sample_finds_what_counts_and_chance_find(
    bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch, change: Change, message: str
) -> None:
    upserting(bench, monkeypatch, change)
    # Missed with a probability of 0.8^100, which is 2e-10.
    with pytest.raises(VerificationError, match=message):
        bench.build(inventory, verify_rows=100)


def test_of_a_copy_the_filters_are_counted_in_both(
    embedded: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = embedded.build(inventory), embedded.build(inventory)
    assert first.report["rows_read_back"] == ROWS
    assert (second.report["copy_of"], second.report["rows_read_back"]) == (first.collection, 0)
    assert second.report["filters_counted"] == first.report["filters_counted"]
    count = EmbeddedEngine.count

    def one_less(self: EmbeddedEngine, name: str, filter: Filter | None = None) -> int:
        is_third = name not in (first.collection, second.collection)
        return count(self, name, filter) - (filter is not None and is_third)

    monkeypatch.setattr(EmbeddedEngine, "count", one_less)
    with pytest.raises(VerificationError, match=f"points pass the .* filter .*, {second.collection} says"):
        embedded.build(inventory)


def test_of_a_copy_of_what_a_sync_changed_every_row_is_looked_up(
    embedded: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.build(inventory)
    taken_over = CollectionMetadata.parse

    def synced(info: CollectionInfo) -> CollectionMetadata:
        return taken_over(info).model_copy(update={"snapshot_run": "a-sync"})

    monkeypatch.setattr("keydistill.ingest.steps.reindex.CollectionMetadata.parse", synced)
    monkeypatch.setattr("keydistill.ingest.steps.reindex.ReindexSteps._snapshot_of_live", lambda *_: None)
    report = embedded.build(inventory).report
    assert "copy_of" not in report
    assert report["rows_read_back"] == ROWS


@pytest.mark.parametrize("reference", ["tiny_student", pytest.param("student", marks=pytest.mark.slow)])
def test_what_one_runtime_built_passes_where_another_verifies(
    request: pytest.FixtureRequest, tmp_path: Path, inventory: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    pytest.importorskip("openvino")
    torch_student = request.getfixturevalue(reference)
    built = Student.load(torch_student.source, runtime="openvino-bf16", cache=tmp_path / "runtimes")
    only_loads(monkeypatch, built)
    with open_bench("embedded", tmp_path / "home", "", built.source) as bench:
        run = bench.build(inventory)
        snapshot = Snapshot.open(bench.store.folder(run.id) / "snapshot")
        report = verify(run, snapshot, bench.engine, torch_student)
    # A fifth of the distance that verification allows.
    assert report["largest_cosine_distance"] < TOLERANCE


def test_one_in_a_hundred_points_missing_is_found(
    bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upserting(bench, monkeypatch, lambda engine, name, points: engine.delete(name, points.ids[::100]))
    with pytest.raises(VerificationError, match=r"has points 297, its snapshot says 300"):
        bench.build(inventory)
    assert (bench.last.state, bench.last.failed_in) == ("failed", "verifying")
    assert bench.live is None


def test_missing_points_are_found_also_where_the_count_is_right(
    bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch, tiny_student: Student
) -> None:
    def replace(engine: Engine, name: str, points: PointBatch) -> None:
        engine.delete(name, points.ids[::100])
        strangers = [f"00000000-0000-4000-8000-{number:012}" for number in range(len(points.ids[::100]))]
        upsert(engine, name, PointBatch(strangers, points.vectors[::100], points.payloads[::100]))

    upsert = type(bench.engine).upsert
    upserting(bench, monkeypatch, replace)
    with pytest.raises(VerificationError, match=r"lacks 3 rows of part 0, '.*' among them"):
        bench.build(inventory)


@pytest.fixture(scope="module")
def ordinary_floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows whose numbers no engine's JSON gives back to the last bit, beside those that it does."""
    rates = np.random.default_rng(3).random(ROWS)
    # One in a thousand is off: these are, on their way through serde_json.
    rates[:3] = 0.09144338512092887, 0.23796462709189137, 0.6039200385961945
    folder = tmp_path_factory.mktemp("floats")
    with write_inventory(folder / "inventory.csv", ROWS).open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for number, (row, rate) in enumerate(zip(rows, rates.tolist(), strict=True)):
        row |= {"rate": rate, "rates": [rate, -rate / 3, 1e-9 * rate], "code": number - (1 << 63)}
    path = folder / "inventory.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_ordinary_floats_can_be_built(bench: Bench, ordinary_floats: Path) -> None:
    assert bench.build(ordinary_floats).report["rows_read_back"] == ROWS


def test_a_float_of_another_value_is_named_with_both(
    bench: Bench, ordinary_floats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nudge(engine: Engine, name: str, points: PointBatch) -> None:
        engine.set_payload(name, points.ids[-1:], {"rate": points.payloads[-1]["rate"] * (1 + 1e-13)})

    upserting(bench, monkeypatch, nudge)
    with pytest.raises(
        VerificationError, match=r"of part 0 differs in 'rate': 0\.\d+ is stored, its snapshot says 0\.\d+;"
    ):
        bench.build(ordinary_floats)


@pytest.mark.parametrize(
    ("stored", "field"),
    [
        ({"a": 0.5, "b": [1.5, 2.5]}, None),
        ({"a": 0.5 * (1 + 2**-51), "b": [1.5, 2.5 * (1 + 2**-51)]}, None),
        ({"a": 0.5 * (1 + 2**-45), "b": [1.5, 2.5]}, "a"),
        ({"a": 0.5, "b": [1.5, 2.6]}, "b"),
        ({"a": 0.5, "b": [1.5]}, "b"),
        ({"a": 0.5, "b": "1.5"}, "b"),
        ({"a": 0.5}, "b"),
        ({"a": 0.5, "b": [1.5, 2.5], "c": 1}, "c"),
        ({"a": float("nan"), "b": [1.5, 2.5]}, "a"),
    ],
)
def test_the_field_that_differs(stored: dict[str, object], field: str | None) -> None:
    assert differing_field(stored, {"a": 0.5, "b": [1.5, 2.5]}) == field


def test_a_broken_filter_index_is_found(bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an index lost points: they are read by their ids with whole payloads, and no filter finds them."""
    kind = type(bench.engine)
    count = kind.count
    monkeypatch.setattr(kind, "count", lambda self, name, filter=None: count(self, name, losing(filter, "site")))
    with pytest.raises(VerificationError, match=r"filter counts differ: \d+ points pass the site filter field 'site'"):
        bench.build(inventory)
    assert bench.live is None


def test_an_index_of_another_type_is_found(bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keydistill.ingest.collection import points

    monkeypatch.setattr(points, "payload_indexes", lambda _: {**payload_indexes({}), "search_volume": "keyword"})
    with pytest.raises(VerificationError, match=r"has payload index search_volume of type keyword, .* says integer"):
        bench.build(inventory)


@pytest.mark.parametrize("key", CollectionMetadata().lacking)
def test_metadata_that_readers_need_is_there(
    key: str, tmp_path: Path, tiny_folder: Path, tiny_student: Student, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_loads(monkeypatch, tiny_student)
    with open_bench("embedded", tmp_path / "home", "", str(tiny_folder)) as bench:
        create = EmbeddedEngine.create

        def forgetful(self: EmbeddedEngine, name: str, spec: CollectionSpec, metadata: Mapping[str, Any]) -> None:
            create(self, name, spec, {each: value for each, value in metadata.items() if each != key})

        monkeypatch.setattr(EmbeddedEngine, "create", forgetful)
        with pytest.raises(VerificationError, match=rf"lacks the metadata \['{key}'\]"):
            bench.build(inventory)


def test_a_collection_that_is_not_ready_is_not_verified(
    bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch, tiny_student: Student
) -> None:
    run = bench.build(inventory)
    snapshot = Snapshot.open(bench.store.folder(run.id) / "snapshot")
    from dataclasses import replace

    kind, info = type(bench.engine), bench.engine.info(run.collection)
    monkeypatch.setattr(kind, "info", lambda self, name: replace(info, state="building"))
    with pytest.raises(VerificationError, match="has state building"):
        verify(run, snapshot, bench.engine, tiny_student)


def test_counts_of_the_snapshot_are_those_of_the_engine(bench: Bench, inventory: Path) -> None:
    """The two ways to count agree for every shape, and for fields that only this inventory has."""
    run = bench.build(inventory, payload_indexes={"brand": "keyword"})
    snapshot = Snapshot.open(bench.store.folder(run.id) / "snapshot")
    ((_, rows),) = list(snapshot.tables())
    fields = payloads(rows)
    named = filters_to_count(profile(snapshot, 64), payload_indexes({"brand": "keyword"}), fields)
    assert {each.shape for each in named} >= {
        *("site", "leaf category", "parent category", "site and category", "category and volume", "brand", "volume")
    }
    counted = passing(rows, lambda: fields, named)
    assert [bench.engine.count(run.collection, each.filter) for each in named] == counted.tolist()
    assert min(counted) > 0


def test_a_bool_is_no_number() -> None:
    rows, fields = profile_rows()
    named = [NamedFilter("new", Filter((Equals("new", value),))) for value in (True, 1)]
    assert passing(rows, lambda: fields, named).tolist() == [1, 1]


def test_a_field_of_the_table_is_counted_as_it_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    bids = PayloadField("bids", "integer", "at least")
    monkeypatch.setattr(filter_counts, "INDEXED_FIELDS", (*INDEXED_FIELDS, bids))
    fields: list[dict[str, object]] = [{"bids": 1}, {"bids": 5}, {}, {"bids": True}]
    empty = SnapshotProfile(4, Counter(), Counter(), None, None, ())
    named = filters_to_count(empty, payload_indexes({bids.name: bids.type}), fields[:3])
    assert [each.filter for each in named] == [Filter((bids.condition(least),)) for least in (1, 5)]
    assert passing(pa.table({"site": ["US"] * 4}), lambda: fields, named).tolist() == [2, 1]


def profile_rows() -> tuple[pa.Table, list[dict[str, object]]]:
    return pa.table({"site": ["US", "US"]}), [{"new": True}, {"new": [1, 2]}]
