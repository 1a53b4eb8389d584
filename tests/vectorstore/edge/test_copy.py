"""Copies of embedded collections: nothing reaches the source, and a process may die at any moment."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.errors import CollectionExistsError, CollectionNotFoundError, VectorStoreError
from keydistill.vectorstore import CollectionSpec, PointBatch
from keydistill.vectorstore.edge import copy as edge_copy
from keydistill.vectorstore.edge import engine as edge
from keydistill.vectorstore.edge import sparse_files
from keydistill.vectorstore.edge.cards import CARD_FOLDER
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.edge.optimize import optimize_in_child
from tests.support.places import ROOT

DIMENSION = 16


def points(first: int, count: int, seed: int = 0) -> PointBatch:
    vectors = np.random.default_rng((seed, first)).normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [str(uuid.UUID(int=number)) for number in range(first, first + count)]
    return PointBatch(
        ids, vectors, [{"keyphrase": f"k{number}", "seed": seed} for number in range(first, first + count)]
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def blocks(folder: Path) -> int:
    return sum(file.stat().st_blocks for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def collections(root: Path) -> Path:
    return root / "collections"


@pytest.fixture
def engine(root: Path) -> Iterator[EmbeddedEngine]:
    """An engine with the ready collection "a" of 50 points."""
    with EmbeddedEngine(root) as engine:
        engine.create("a", CollectionSpec(DIMENSION), {})
        engine.upsert("a", points(0, 50))
        engine.finish("a")
        yield engine


def data(folder: Path) -> dict[str, bytes]:
    """The content without the card, which is the collection's own."""
    return {name: file for name, file in content(folder).items() if not name.startswith(f"{CARD_FOLDER}/")}


def nothing_left(engine: EmbeddedEngine, collections: Path) -> bool:
    return engine.collections() == ["a"] and [folder.name for folder in collections.iterdir() if folder.is_dir()] == [
        "a"
    ]


def test_no_byte_of_the_source_changes(engine: EmbeddedEngine, collections: Path) -> None:
    before = content(collections / "a")
    with EmbeddedEngine(collections.parent) as reader:
        reader.count("a")  # its view shares files with the source
        engine.copy("a", "b", {})
        assert data(collections / "b") == data(collections / "a")
        engine.upsert("b", points(25, 50, seed=1))
        engine.set_payload("b", points(0, 5).ids, {"new": 1})
        engine.delete("b", points(10, 5).ids)
        engine.finish("b")
        assert (reader.count("a"), reader.count("b")) == (50, 70)
        records = {record.id: record.payload.get("seed") for record in reader.scroll("b")}
        assert [seed for _, seed in sorted(records.items())] == [0] * 20 + [1] * 50
    assert content(collections / "a") == before


def test_a_duplicate_takes_no_room_and_nothing_is_written_to_it(engine: EmbeddedEngine, collections: Path) -> None:
    before = data(collections / "a")
    engine.duplicate("a", "b", {})
    for file in (collections / "b").rglob("*"):
        original = collections / "a" / file.relative_to(collections / "b")
        assert file.is_dir() or CARD_FOLDER in file.parts or file.samefile(original)
    engine.copy("b", "c", {})
    engine.upsert("c", points(25, 50, seed=1))
    engine.finish("c")
    assert (engine.count("a"), engine.count("b"), engine.count("c")) == (50, 50, 75)
    assert data(collections / "a") == data(collections / "b") == before


def test_a_duplicate_where_there_are_no_hard_links(
    engine: EmbeddedEngine, collections: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    engine.duplicate("a", "b", {})
    assert data(collections / "b") == data(collections / "a")
    assert engine.count("b") == 50


def test_holes_stay_holes(engine: EmbeddedEngine, collections: Path) -> None:
    engine.copy("a", "b", {})
    assert blocks(collections / "b") <= 1.1 * blocks(collections / "a")
    for file in (collections / "a").rglob("*"):
        copy = collections / "b" / file.relative_to(collections / "a")
        is_card = CARD_FOLDER in file.parts
        assert is_card or file.is_dir() or file.stat().st_size == copy.stat().st_size


def change_forever(root: Path, acknowledged: Any) -> None:
    engine = EmbeddedEngine(root)
    for turn in range(10_000):
        engine.upsert("b", points(turn * 10, 20, seed=1))  # ten of the source's or of the last turn's, ten new ones
        acknowledged.value = (turn + 1) * 10


def test_no_acknowledged_change_is_lost_when_the_writer_is_killed(engine: EmbeddedEngine, root: Path) -> None:
    engine.copy("a", "b", {})
    context = multiprocessing.get_context("spawn")
    # Without a lock, which a writer that is killed would hold for ever.
    acknowledged = context.Value("q", 0, lock=False)
    writer = context.Process(target=change_forever, args=(root, acknowledged))
    writer.start()
    while acknowledged.value < 300:
        assert writer.is_alive()
        time.sleep(0.01)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    for _ in ("building", "ready"):
        seeds = {record.id: record.payload["seed"] for record in engine.scroll("b")}
        assert all(seeds.get(id) == 1 for id in points(0, acknowledged.value + 10).ids)
        engine.finish("b")
    assert [record.payload["seed"] for record in engine.scroll("a")] == [0] * 50


DIE = (
    "import os, sys; from pathlib import Path\n"
    "from keydistill.vectorstore.edge import copy as edge_copy, engine as edge\n"
    "{patch}\n"
    "with edge.EmbeddedEngine(Path(sys.argv[1])) as engine: engine.{how}('a', 'b', {{}})"
)
MOMENTS = {
    "among the files": "edge_copy.os.fsync = lambda _: os.kill(os.getpid(), 9)",
    "before its place": "edge_copy.Path.rename = lambda *_: os.kill(os.getpid(), 9)",
    "in its place, before the catalogue": "edge.sync = lambda _: os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("moment", list(MOMENTS))
@pytest.mark.parametrize(("how", "again"), [("copy", "copy"), ("copy", "create"), ("duplicate", "duplicate")])
def test_a_process_that_dies_leaves_no_collection(
    engine: EmbeddedEngine, root: Path, collections: Path, moment: str, how: str, again: str
) -> None:
    code = DIE.format(patch=MOMENTS[moment], how=how)
    died = subprocess.run([sys.executable, "-c", code, str(root)], check=False, cwd=ROOT)
    assert died.returncode == -signal.SIGKILL
    assert engine.collections() == ["a"]
    assert not nothing_left(engine, collections)
    if again != "create":
        getattr(engine, again)("a", "b", {})
        assert engine.count("b") == 50
    else:
        engine.create("b", CollectionSpec(DIMENSION), {})
        assert engine.count("b") == 0
    engine.drop("b")
    assert nothing_left(engine, collections)


def test_of_many_copies_to_one_name_one_wins(engine: EmbeddedEngine, root: Path, collections: Path) -> None:
    outcomes: list[str] = []

    def copy() -> None:
        try:
            EmbeddedEngine(root).copy("a", "b", {})
            outcomes.append("copied")
        except CollectionExistsError:
            outcomes.append("refused")

    threads = [threading.Thread(target=copy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["copied", "refused", "refused", "refused"]
    assert engine.count("b") == 50
    engine.drop("b")
    assert nothing_left(engine, collections)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has a function called once, when the copy of the fifth file begins."""

    def order(function: Any) -> None:
        copy_file, calls = edge_copy._copy_file, []

        def hooked(source: str, target: Path) -> None:
            calls.append(source)
            if len(calls) == 5:
                function()
            copy_file(source, target)

        monkeypatch.setattr(edge_copy, "_copy_file", hooked)

    return order


def test_the_catalogue_is_not_locked_meanwhile(engine: EmbeddedEngine, root: Path, meanwhile: Any) -> None:
    def work() -> None:
        with EmbeddedEngine(root) as other:
            other.swap_alias("live", "a", None)
            other.create("c", CollectionSpec(DIMENSION), {})
            other.set_metadata("a", {"seen": True})

    meanwhile(work)
    engine.copy("a", "b", {"mine": 1})
    assert engine.collections() == ["a", "b", "c"]
    assert engine.count("b") == 50
    assert (engine.info("live").metadata, engine.info("b").metadata) == ({"seen": True}, {"mine": 1})


@pytest.mark.parametrize("again", [False, True], ids=["gone", "a new one has its name"])
def test_a_source_that_is_deleted_meanwhile(
    engine: EmbeddedEngine, root: Path, collections: Path, meanwhile: Any, again: bool
) -> None:
    def drop() -> None:
        with EmbeddedEngine(root) as other:
            other.drop("a")
            if again:
                other.create("a", CollectionSpec(DIMENSION), {})

    meanwhile(drop)
    with pytest.raises(VectorStoreError) as caught:
        engine.copy("a", "b", {})
    assert isinstance(caught.value, CollectionNotFoundError) or again
    assert "b" not in engine.collections()
    assert {folder.name for folder in collections.iterdir() if folder.is_dir()} == ({"a"} if again else set())


def test_a_name_that_is_taken_meanwhile(engine: EmbeddedEngine, root: Path, meanwhile: Any) -> None:
    def take() -> None:
        with EmbeddedEngine(root) as other:
            other.create("b", CollectionSpec(DIMENSION), {"theirs": 1})
            other.upsert("b", points(0, 3))

    meanwhile(take)
    with pytest.raises(CollectionExistsError, match="'b'"):
        engine.copy("a", "b", {})
    assert (engine.count("b"), engine.info("b").metadata) == (3, {"theirs": 1})


def test_a_full_disk(engine: EmbeddedEngine, collections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(VectorStoreError, match="copying 'a' to 'b': No space left on device") as caught:
        engine.copy("a", "b", {})
    assert "\n" not in str(caught.value)
    assert nothing_left(engine, collections)


def test_a_file_system_that_cannot_copy(
    engine: EmbeddedEngine, collections: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "copy_file_range", missing)
    monkeypatch.setattr(sparse_files, "_CHUNK_BYTES", 1_000)
    engine.copy("a", "b", {})
    assert data(collections / "b") == data(collections / "a")
    assert blocks(collections / "b") <= 1.1 * blocks(collections / "a")


def test_a_source_without_its_log_is_refused(engine: EmbeddedEngine, collections: Path) -> None:
    (collections / "a" / "wal").rename(collections.parent / "elsewhere")
    with pytest.raises(VectorStoreError, match="no folder 'wal'"):
        engine.copy("a", "b", {})
    assert nothing_left(engine, collections)


@pytest.mark.parametrize("name", ["", ".copying", "../outside", "a/b"])
def test_names_that_are_no_folder_names_are_refused(engine: EmbeddedEngine, collections: Path, name: str) -> None:
    with pytest.raises(VectorStoreError, match="cannot be a folder name"):
        engine.copy("a", name, {})
    assert nothing_left(engine, collections)


def test_a_log_of_several_files(engine: EmbeddedEngine) -> None:
    """The engine deletes a file of its log once nobody needs it; the numbers go on."""
    engine.create("long", CollectionSpec(DIMENSION), {})
    for turn in range(3):
        batch = points(turn * 10, 10)
        engine.upsert("long", PointBatch(batch.ids, batch.vectors, [{"long": "x" * 2_500_000}] * 10))
    engine.finish("long")
    engine.copy("long", "b", {})
    engine.upsert("b", points(5, 10, seed=1))
    engine.delete("b", points(0, 2).ids)
    engine.finish("b")
    assert engine.count("b") == 28
    assert [record.payload.get("seed") for record in engine.retrieve("b", points(3, 4).ids)] == [None, None, 1, 1]


def test_metadata_that_changes_during_finish(
    engine: EmbeddedEngine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.copy("a", "b", {"old": 1})
    optimize = optimize_in_child

    def slow(folder: Path) -> None:
        optimize(folder)
        EmbeddedEngine(root).set_metadata("b", {"old": None, "new": 2})

    monkeypatch.setattr(edge, "optimize_in_child", slow)
    engine.finish("b")
    assert (engine.info("b").state, engine.info("b").metadata) == ("ready", {"new": 2})
