"""What is special about the embedded engine; what all engines share stands in test_engine_contract.py."""

import ctypes
import errno
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from numpy.typing import DTypeLike
from qdrant_edge import EdgeShard

from keydistill.errors import AliasChangedError, CollectionNotFoundError, CollectionStateError, VectorStoreError
from keydistill.files import replace_json
from keydistill.settings import Component, Quantization, Tier
from keydistill.vectorstore import CollectionSpec, Equals, Filter, PointBatch, Range, SearchParams, keyphrase_filter
from keydistill.vectorstore.edge import catalog, optimize_shard
from keydistill.vectorstore.edge import engine as edge_engine
from keydistill.vectorstore.edge import shards as edge_shards
from keydistill.vectorstore.edge import view as edge_view
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.edge.translation import hit, query_request
from tests.support.corpus import SPEC, make_corpus, unit_vectors
from tests.support.places import ROOT

DIMENSION = 16


def points(first: int, count: int) -> PointBatch:
    vectors = np.random.default_rng(first).normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [str(uuid.UUID(int=number)) for number in range(first, first + count)]
    return PointBatch(ids, vectors, [{"keyphrase": f"k{number}"} for number in range(first, first + count)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def engine(root: Path) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(root) as engine:
        yield engine


def ready(engine: EmbeddedEngine, name: str, count: int = 50) -> None:
    engine.create(name, CollectionSpec(DIMENSION), {})
    engine.upsert(name, points(0, count))
    engine.finish(name)


def test_many_queries_are_answered_a_few_at_once(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(engine, "a")
    queries = points(7, 11).vectors
    expected = [engine.query("a", vector, 3) for vector in queries]
    sizes: list[int] = []

    def noted(queries: list[edge.QueryRequest]) -> edge.QueryBatchRequest:
        sizes.append(len(queries))
        return batch_of(queries)

    batch_of = edge.QueryBatchRequest
    monkeypatch.setattr(edge, "QueryBatchRequest", noted)
    assert engine.query_batch("a", queries, 3) == expected
    # Between two calls of the binding other threads get the interpreter's lock.
    assert (sum(sizes), max(sizes)) == (11, 4)


def test_a_ready_collection_refuses_writes(engine: EmbeddedEngine) -> None:
    ready(engine, "a")
    writes: list[Callable[[], None]] = [
        lambda: engine.upsert("a", points(0, 1)),
        lambda: engine.delete("a", points(0, 1).ids),
        lambda: engine.set_payload("a", points(0, 1).ids, {"x": 1}),
    ]
    for write in writes:
        with pytest.raises(CollectionStateError, match="never change"):
            write()
    assert engine.count("a") == 50


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("left_in_files", [False, True])
def test_readers_do_not_change_the_folder_of_a_ready_collection(
    engine: EmbeddedEngine, root: Path, left_in_files: bool
) -> None:
    ready(engine, "a")
    before = content(root / "collections" / "a")
    for _ in range(2):
        with EmbeddedEngine(root, left_in_files=left_in_files) as reader:
            reader.query("a", points(0, 1).vectors[0], 5)
            list(reader.scroll("a", with_vectors=True))
    assert content(root / "collections" / "a") == before


def test_a_view_has_hardly_a_file_of_its_own(engine: EmbeddedEngine, root: Path) -> None:
    """What it has written is written to the disk when it is closed, while all threads of the process wait."""
    ready(engine, "a")
    engine.count("a")
    files = [file.stat() for folder in view_folders(root) for file in folder.rglob("*") if file.is_file()]
    assert sum(file.st_size for file in files) > 100_000_000
    assert sum(512 * file.st_blocks for file in files if file.st_nlink == 1) < 1_000_000


@pytest.mark.parametrize("placement", [{}, {"graph": "pinned", "indexes": "pinned"}, {"quantized": "pinned"}])
@pytest.mark.parametrize("quantization", ["int8", "turbo4"])
def test_what_is_left_in_files_answers_alike(
    engine: EmbeddedEngine,
    root: Path,
    placement: dict[Component, Tier],
    quantization: Quantization,
) -> None:
    engine.create("a", replace(SPEC, placement=placement, quantization=quantization), {})
    for batch in make_corpus().batches():
        engine.upsert("a", batch)
    engine.finish("a")
    filters = [
        None,
        keyphrase_filter(site="us", category="root 3 > leaf 13"),
        keyphrase_filter(min_search_volume=500),
        Filter((Equals("active", True), Range("bid", gte=0.5, lt=1.5))),
    ]
    with EmbeddedEngine(root, left_in_files=True) as reader:
        reader.count("a")
        (view,) = view_folders(root)
        for filter in filters:
            assert reader.count("a", filter) == engine.count("a", filter)
            for vector in unit_vectors(5, seed=9):
                assert reader.query("a", vector, 10, filter) == engine.query("a", vector, 10, filter)
        assert reader.info("a") == engine.info("a")
        texts = [file.read_text("utf-8") for file in view.rglob("*.json")]
    for part, pattern in {
        "quantized": '"quantization_config": ?{[^}]*"memory": ?"pinned"',
        "indexes": '"is_on_disk": ?false',
    }.items():
        assert any(re.search(pattern, text) for text in texts) == (part in placement)


def test_closing_leaves_no_views(engine: EmbeddedEngine, root: Path) -> None:
    ready(engine, "a")
    reader = EmbeddedEngine(root)
    reader.count("a")
    assert [view for view in (root / "views").iterdir() if view.is_dir()]
    reader.close()
    reader.close()
    assert not [view for view in (root / "views").iterdir() if view.is_dir()]


def test_views_of_dead_processes_are_removed_by_the_next_reader(engine: EmbeddedEngine, root: Path) -> None:
    ready(engine, "a")
    code = (
        "import os, sys; from pathlib import Path; from keydistill.vectorstore.edge.engine import EmbeddedEngine\n"
        "engine = EmbeddedEngine(Path(sys.argv[1])); engine.count('a'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    (left,) = [view for view in (root / "views").iterdir() if view.is_dir()]
    assert engine.count("a") == 50
    assert not left.exists()


def test_a_reader_outlives_the_deletion_of_its_collection(engine: EmbeddedEngine, root: Path) -> None:
    ready(engine, "a")
    with EmbeddedEngine(root) as reader:
        expected = reader.query("a", points(0, 1).vectors[0], 5)
        request = query_request(points(0, 1).vectors[0], 5, None, SearchParams())
        with reader._shards.reading("querying 'a'", "a") as shard:
            engine.drop("a")
            assert not (root / "collections" / "a").exists()
            assert len(expected) == 5
            assert [hit(point) for point in shard.query(request)] == expected


def test_a_view_is_closed_by_the_last_that_uses_it(engine: EmbeddedEngine, root: Path) -> None:
    ready(engine, "a")
    request = query_request(points(0, 1).vectors[0], 5, None, SearchParams())
    with engine._shards.reading("querying 'a'", "a") as first, engine._shards.reading("querying 'a'", "a") as second:
        assert first is second
        engine.release("a")
        with engine._shards.reading("querying 'a'", "a") as third:
            assert third is not first
            assert list(map(hit, first.query(request))) == list(map(hit, third.query(request)))
        assert len(view_folders(root)) == 2
    assert len(view_folders(root)) == 1
    engine.release("a")
    assert view_folders(root) == []


def test_only_the_views_that_were_used_last_stay_open(engine: EmbeddedEngine, root: Path) -> None:
    """A worker asks a new collection after every sync; what it keeps open must not grow."""
    names = [f"c{number}" for number in range(edge_view._IDLE_VIEWS + 3)]
    for name in names:
        ready(engine, name, 5)
    for name in names[:-1]:
        assert engine.count(name) == 5
        assert engine.count(names[0]) == 5
    with engine._shards.reading("querying", names[-1]) as shard:
        for name in names:
            assert engine.count(name) == 5
        # One that is in use is not among those that could be closed.
        assert len(view_folders(root)) == edge_view._IDLE_VIEWS + 1
        assert shard.info().points_count == 5
    assert len(view_folders(root)) == edge_view._IDLE_VIEWS
    for name in names:
        engine.release(name)
    assert view_folders(root) == []


def test_a_collection_that_is_deleted_before_it_is_open(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(engine, "a")
    link = edge_view._link_or_copy

    def late(source: Path, target: Path) -> None:
        EmbeddedEngine(root).drop("a")
        link(source, target)

    monkeypatch.setattr(edge_view, "_link_or_copy", late)
    with EmbeddedEngine(root) as reader, pytest.raises(CollectionNotFoundError):
        reader.count("a")
    assert view_folders(root) == []


def view_folders(root: Path) -> list[Path]:
    return [view for view in (root / "views").iterdir() if view.is_dir()]


def write_forever(root: Path, acknowledged: Any) -> None:
    engine = EmbeddedEngine(root)
    for batch in range(10_000):
        engine.upsert("a", points(batch * 20, 20))
        acknowledged.value = (batch + 1) * 20


def test_no_acknowledged_point_is_lost_when_the_writer_is_killed(root: Path) -> None:
    with EmbeddedEngine(root) as engine:
        engine.create("a", CollectionSpec(DIMENSION), {})
    context = multiprocessing.get_context("spawn")
    # Without a lock, which a writer that is killed would hold for ever.
    acknowledged = context.Value("q", 0, lock=False)
    writer = context.Process(target=write_forever, args=(root, acknowledged))
    writer.start()
    while acknowledged.value < 500:
        assert writer.is_alive()
        time.sleep(0.01)
    writer.kill()
    writer.join()
    with EmbeddedEngine(root) as engine:
        stored = {record.id for record in engine.scroll("a")}
        assert stored.issuperset(points(0, acknowledged.value).ids)
        engine.upsert("a", points(0, acknowledged.value))
        engine.finish("a")
        assert engine.count("a") == len(stored)


_WRITING = """
import os, sys
from pathlib import Path
from keydistill.capacity.parts import own_memory
from keydistill.vectorstore import CollectionSpec
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.vectorstore.edge.test_engine import DIMENSION, points

with EmbeddedEngine(Path(sys.argv[1])) as engine:
    engine.create("a", CollectionSpec(DIMENSION), {})
    engine.upsert("a", points(0, 1_000))
    sizes = [own_memory(os.getpid())]
    for first in range(1_000, 40_000, 1_000):
        engine.upsert("a", points(first, 1_000))
    sizes.append(own_memory(os.getpid()))
    engine._shards.close_writer("a")
    sizes.append(own_memory(os.getpid()))
print(*sizes)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the allocator cannot be asked")
def test_a_writer_that_is_closed_gives_its_memory_back(root: Path) -> None:
    program = [sys.executable, "-c", _WRITING, str(root)]
    printed = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    begun, full, closed = (int(size) / 1_000_000 for size in printed.split())
    assert full - begun > 5
    assert closed - begun < (full - begun) / 2


def test_a_growing_collection_is_opened_ever_more_rarely(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_shards, "_FLUSH_AFTER", 10)
    opened: list[int] = []

    def load(folder: str) -> EdgeShard:
        shard = EdgeShard.load(folder)
        opened.append(shard.info().points_count)
        return shard

    monkeypatch.setattr(edge_shards, "qdrant_edge", SimpleNamespace(EdgeShard=SimpleNamespace(load=load)))
    engine.create("a", CollectionSpec(DIMENSION), {})
    for first in range(0, 200, 5):
        engine.upsert("a", points(first, 5))
    assert opened == [10, 20, 30, 50, 80, 120, 180]
    assert engine.count("a") == 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_vectors_are_stored_to_the_bit(engine: EmbeddedEngine, dtype: DTypeLike) -> None:
    batch = points(0, 7)
    engine.create("a", CollectionSpec(DIMENSION), {})
    turned = np.asfortranarray(batch.vectors).astype(dtype)
    engine.upsert("a", PointBatch(batch.ids, turned, batch.payloads))
    for record, vector in zip(engine.retrieve("a", batch.ids, with_vectors=True), batch.vectors, strict=True):
        np.testing.assert_array_equal(record.vector, vector)


def test_a_second_writer_is_refused(engine: EmbeddedEngine, root: Path) -> None:
    engine.create("a", CollectionSpec(DIMENSION), {})
    engine.upsert("a", points(0, 5))
    with EmbeddedEngine(root) as other, pytest.raises(CollectionStateError, match="another process has it open"):
        other.upsert("a", points(5, 5))
    assert engine.count("a") == 5


def test_a_folder_that_no_catalogue_names_is_no_obstacle(engine: EmbeddedEngine, root: Path) -> None:
    ready(engine, "first", 3)
    (root / "collections" / "a" / "segments").mkdir(parents=True)
    (root / "collections" / "a" / "edge_config.json").write_text("half a")
    ready(engine, "a")
    assert engine.count("a") == 50
    (kept,) = (root / "trash").iterdir()
    assert (kept / "edge_config.json").read_text() == "half a"


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_drop_on_a_full_disk_deletes_first_and_then_writes(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `replace_json` does where there is no room before the folder is gone."""
    ready(engine, "a", 3)
    ready(engine, "live", 3)
    engine.swap_alias("alias", "live", None)

    def write_if_there_is_room(path: Path, values: object) -> None:
        if (root / "collections" / "a").exists():
            full_disk()
        replace_json(path, values)

    monkeypatch.setattr(catalog, "replace_json", write_if_there_is_room)
    with pytest.raises(CollectionStateError, match="is live behind alias"):
        engine.drop("live")
    assert (root / "collections" / "live").is_dir()
    engine.drop("a")
    assert engine.collections() == ["live"]
    assert not (root / "collections" / "a").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_where_nothing_can_be_written_queries_are_answered_from_a_copy_elsewhere(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    ready(engine, "a")
    elsewhere = root / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    claim = edge_view._claim_folder

    def refusing(views: Path, name: str) -> tuple[Path, int]:
        if views == root / "views":
            raise OSError(number, os.strerror(number), str(views))
        return claim(views, name)

    monkeypatch.setattr(edge_view, "_claim_folder", refusing)
    with EmbeddedEngine(root) as reader:
        assert reader.count("a") == 50
        assert len(reader.query("a", points(0, 1).vectors[0], 5)) == 5
        (views,) = elsewhere.iterdir()
        assert views.stat().st_mode & 0o777 == 0o700
    assert [folder for folder in views.iterdir() if folder.is_dir()] == []


def test_a_write_that_fails_names_its_file(engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(engine, "a", 3)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space") as caught:
        engine.set_metadata("a", {"x": 1})
    assert str(root / "collections" / "a") in str(caught.value)


def test_a_folder_of_a_drop_that_was_killed_goes_with_the_next_collection(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(engine, "one")
    ready(engine, "two")
    with monkeypatch.context() as killed:
        killed.setattr("keydistill.vectorstore.edge.engine.shutil.rmtree", lambda *_, **__: None)
        engine.drop("one")
    assert (root / "collections" / "one").is_dir()
    ready(engine, "three")
    assert not (root / "collections" / "one").exists()
    assert engine.collections() == ["three", "two"]
    assert engine.count("two") == 50


def test_the_threshold_of_scans_falls_with_the_size_and_a_graph_keeps_its_own(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points_of = {0: 6_500, 100_000: 6_500, 1_000_000: 650, 10_000_000: 100}
    assert {size: optimize_shard.full_scan_points(size) for size in points_of} == points_of

    def threshold(name: str) -> int:
        [file] = (root / "collections" / name).rglob("hnsw_config.json")
        return int(json.loads(file.read_text(encoding="utf-8"))["full_scan_threshold"])

    monkeypatch.setattr(edge_engine, "optimize_in_child", lambda folder: optimize_shard.optimize(str(folder)))
    monkeypatch.setattr(optimize_shard, "_PRODUCT", 2_600 * 1_300)
    # Long vectors: the engine makes a graph of 10 MB of them.
    vectors = np.random.default_rng(0).normal(size=(2_600, 1_024)).astype(np.float32)
    ids = [str(uuid.UUID(int=number)) for number in range(len(vectors))]
    rows = PointBatch(ids, vectors, [{"volume": number} for number in range(len(vectors))])
    engine.create("a", CollectionSpec(1_024, {"volume": "integer"}, hnsw_m=4, hnsw_ef_construct=8), {})
    engine.upsert("a", rows)
    engine.finish("a")
    assert threshold("a") == 1_300
    monkeypatch.setattr(optimize_shard, "_PRODUCT", 2_600 * 300)
    engine.copy("a", "b", {})
    engine.delete("b", ids[:10])
    engine.finish("b")
    assert (threshold("b"), engine.count("b")) == (1_300, 2_590)
    settings = json.loads((root / "collections" / "b" / "edge_config.json").read_text(encoding="utf-8"))
    assert settings["vectors"][""]["quantization_config"]["scalar"]["type"] == "int8"


def test_an_optimiser_that_dies_leaves_the_collection_building(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.create("a", CollectionSpec(DIMENSION), {})
    engine.upsert("a", points(0, 50))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(VectorStoreError, match="optimising a failed: exit status 1"):
        engine.finish("a")
    assert engine.info("a").state == "building"
    monkeypatch.undo()
    engine.finish("a")
    assert engine.info("a").state == "ready"
    assert engine.count("a") == 50


def test_of_many_swaps_from_the_same_target_one_wins(engine: EmbeddedEngine, root: Path) -> None:
    for name in ("live", "b", "c", "d", "e"):
        ready(engine, name, 3)
    engine.swap_alias("alias", "live", None)
    outcomes: list[str] = []

    def swap(target: str) -> None:
        try:
            EmbeddedEngine(root).swap_alias("alias", target, "live")
            outcomes.append(target)
        except AliasChangedError:
            outcomes.append("refused")

    threads = [threading.Thread(target=swap, args=(target,)) for target in ("b", "c", "d", "e")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[1:] == ["refused"] * 3
    assert engine.aliases()["alias"] == min(outcomes)


def test_a_damaged_catalogue_is_one_line(engine: EmbeddedEngine, root: Path) -> None:
    ready(engine, "a", 3)
    (root / "catalog.json").write_text('{"collections": ')
    with pytest.raises(VectorStoreError, match="is not a catalogue of collections") as caught:
        engine.collections()
    assert "\n" not in str(caught.value)


def test_a_change_that_fails_leaves_the_catalogue_as_it_was(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(engine, "a", 3)
    before = (root / "catalog.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        engine.swap_alias("alias", "a", None)
    assert (root / "catalog.json").read_bytes() == before
    assert [file.name for file in root.glob(".catalog*")] == []


@pytest.mark.parametrize("name", ["", ".hidden", "../outside", "a/b"])
def test_names_that_are_no_folder_names_are_refused(engine: EmbeddedEngine, name: str) -> None:
    with pytest.raises(VectorStoreError, match="cannot be a folder name"):
        engine.create(name, CollectionSpec(DIMENSION), {})


def test_vectors_that_are_not_finite_are_refused(engine: EmbeddedEngine) -> None:
    engine.create("a", CollectionSpec(DIMENSION), {})
    batch = points(0, 3)
    batch.vectors[1, 2] = np.nan
    with pytest.raises(VectorStoreError, match="not finite"):
        engine.upsert("a", batch)
    assert engine.count("a") == 0


def query_in_child(engine: EmbeddedEngine, answers: "Queue[int]") -> None:
    answers.put(len(engine.query("a", points(0, 1).vectors[0], 5)))
    engine.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_engine_survives_a_fork(engine: EmbeddedEngine) -> None:
    ready(engine, "a")
    assert len(engine.query("a", points(0, 1).vectors[0], 5)) == 5
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=query_in_child, args=(engine, answers))
    child.start()
    assert answers.get(timeout=30) == 5
    child.join()
    assert len(engine.query("a", points(0, 1).vectors[0], 5)) == 5
