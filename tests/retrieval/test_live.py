"""The retriever that follows the alias, while others swap it, drop collections and break students."""

import gc
import logging
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keydistill.encoders import Student
from keydistill.errors import (
    CollectionNotFoundError,
    EngineUnavailableError,
    KeydistillError,
    StudentMismatchError,
    VectorStoreError,
)
from keydistill.retrieval import Answer, Generation, LiveRetriever, Recommendation
from keydistill.retrieval.generation import student_loader
from keydistill.settings import load_settings
from keydistill.storage import SharedStorage, share_student
from keydistill.vectorstore import Engine
from tests.retrieval.conftest import EXACT, TITLES, World

READERS = 16
# Between a reader's questions. Without one the readers leave the thread that loads no time, and the tests take minutes.
PAUSE = 0.005


def until(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def follows(retriever: LiveRetriever, collection: str) -> None:
    until(lambda: retriever.status().collection == collection)


def keyphrases(lists: list[list[Recommendation]]) -> list[list[str]]:
    return [[hit.keyphrase for hit in hits] for hits in lists]


def expected(world: World, *names: str) -> dict[str, list[list[str]]]:
    """Collection to what its own student finds in it for each title."""
    generations = [world.of(name) for name in names]
    return {
        generation.collection: [keyphrases(generation.recommend([title], 5))[0] for title in TITLES]
        for generation in generations
    }


def test_the_two_students_have_nothing_in_common(world: World) -> None:
    # Otherwise the tests below would not notice a mixed answer.
    a, b = world.of("a"), world.of("b")
    right = expected(world, "a", "b")
    for number, title in enumerate(TITLES):
        mixed = [hit.payload["keyphrase"] for hit in world.engine.query(b.collection, a.embed([title])[0].vector, 5)]
        assert mixed not in (right[a.collection][number], right[b.collection][number])


def test_swaps_under_concurrent_readers(world: World) -> None:
    world.loads.known.clear()
    right = expected(world, "a", "b", "a2")
    names = list(right)
    ended = threading.Event()
    with world.open() as retriever:

        def read(reader: int) -> set[str]:
            seen: set[str] = set()
            query = reader
            while not ended.is_set():
                number = query % len(TITLES)
                answer = retriever.recommend([TITLES[number]], 5)
                assert keyphrases(answer.found) == [right[answer.collection][number]]
                assert answer.student_version == world.of(answer.collection).student_version
                seen.add(answer.collection)
                query += 1
                time.sleep(PAUSE)
            return seen

        with ThreadPoolExecutor(READERS) as pool:
            readers = [pool.submit(read, number) for number in range(READERS)]
            for swap in range(1, 6):
                world.swap(names[swap % 3])
                follows(retriever, names[swap % 3])
                time.sleep(0.05)
            ended.set()
            seen = [reader.result() for reader in readers]
        assert set.union(*seen) == set(names)
        assert retriever.status().changes == 5
        until(lambda: retriever.status().ending == ())
        assert retriever.status().in_flight == 0


def test_old_collections_dropped_under_readers(world: World) -> None:
    """No grace time at all: each collection is dropped right after the alias left it."""
    right = expected(world, "a")
    ended = threading.Event()
    # The watcher never looks; the readers find out.
    with world.open(poll_seconds=3_600) as retriever:

        def read() -> int:
            queries = 0
            while not ended.is_set():
                answer = retriever.recommend(TITLES[:1], 5)
                assert keyphrases(answer.found)[0] == right[answer.collection][0]
                queries += 1
                time.sleep(PAUSE)
            return queries

        extra = [world.build("b"), world.build("a")]
        right |= expected(world, *extra)
        with ThreadPoolExecutor(READERS) as pool:
            readers = [pool.submit(read) for _ in range(READERS)]
            for before, after in zip([world.names["a"], *extra], extra, strict=False):
                world.swap(after)
                if before in extra:
                    world.engine.drop(before)
                else:
                    retriever.refresh()
                follows(retriever, after)
            ended.set()
            assert all(reader.result() > 0 for reader in readers)
        assert retriever.status().collection == extra[-1]


def test_the_next_student_is_broken(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "moved"
    collection = world.build("b", folder=broken)
    right = expected(world, "a")[world.names["a"]][0]
    caplog.set_level(logging.WARNING, logger="keydistill.retrieval")

    def lines() -> int:
        return len([record for record in caplog.records if record.name.startswith("keydistill.retrieval")])

    with world.open() as retriever:
        world.swap(collection)
        until(lambda: retriever.status().failures > 2)
        status = retriever.status()
        assert (status.collection, status.named) == (world.names["a"], collection)
        assert "moved" in (status.failure or "")
        assert keyphrases(retriever.recommend(TITLES[:1], 5).found) == [right]
        assert lines() == 1
        with pytest.raises(KeydistillError, match="moved"):
            retriever.refresh()
        # Another is put there, whole at once: under the name that is part of its version.
        Path(shutil.copytree(world.students["a"].source, tmp_path / "copied")).rename(broken)
        until(lambda: "was built by" in (retriever.status().failure or ""))
        # The line follows the status.
        until(lambda: lines() == 2)
        world.swap("b")
        follows(retriever, world.names["b"])
        until(lambda: retriever.status().failure is None)


def test_the_next_student_is_not_there_yet(world: World, tmp_path: Path) -> None:
    late = tmp_path / "other"
    collection = world.build("b", folder=late)
    with world.open() as retriever:
        world.swap(collection)
        until(lambda: retriever.status().failures > 0)
        shutil.copytree(world.students["b"].source, late)
        follows(retriever, collection)


def test_gone_without_a_successor(world: World) -> None:
    doomed = world.build("a")
    world.swap(doomed)
    with world.open(poll_seconds=3_600) as retriever:
        world.swap(world.build("b", folder=Path("/nowhere/student")))
        world.engine.drop(doomed)
        with pytest.raises(CollectionNotFoundError, match="nowhere") as caught:
            retriever.recommend(TITLES[:1])
        assert "\n" not in str(caught.value)
        world.swap("b")
        assert retriever.recommend(TITLES[:1]).collection == world.names["b"]


def test_the_same_student_is_not_loaded_again(world: World) -> None:
    with world.open() as retriever:
        vectors = retriever.embed(TITLES)
        world.swap("a2")
        follows(retriever, world.names["a2"])
        assert len(world.loads.sources) == 1
        assert retriever.query(vectors, 3).collection == world.names["a2"]
        world.swap("b")
        follows(retriever, world.names["b"])
        assert len(world.loads.sources) == 2
        with pytest.raises(StudentMismatchError, match="embed the item again"):
            retriever.query(vectors, 3)


def test_what_is_in_flight_ends_on_the_old_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    release = world.engine.release

    def noted(name: str) -> None:
        released.append(name)
        release(name)

    monkeypatch.setattr(world.engine, "release", noted)
    right = expected(world, "a", "b")
    a, b = world.names["a"], world.names["b"]
    with world.open() as retriever:
        with retriever.generation() as old:
            world.swap("b")
            follows(retriever, b)
            assert retriever.recommend(TITLES[:1], 5).collection == b
            assert keyphrases(old.recommend(TITLES[:1], 5)) == [right[a][0]]
            assert retriever.status().ending == (a,)
            assert retriever.status().in_flight == 1
            assert released == []
            # Back again: what is still loaded goes on.
            world.swap("a")
            follows(retriever, a)
            assert len(world.loads.sources) == 2
            world.swap("b")
            follows(retriever, b)
        until(lambda: a in released)
        assert retriever.status().ending == ()


@pytest.mark.parametrize("failures", [0, 3])
def test_the_old_student_leaves_the_memory(world: World, failures: int) -> None:
    world.loads.known.clear()
    with world.open() as retriever:
        with retriever.generation() as old:
            student = weakref.ref(old.student._runtime)
        del old
        world.loads.failures = failures
        gc.collect()
        # An error that is part of a circle would keep the student until Python looks for circles. Of a server there may
        # be others, in the client's libraries: a connection that is lost now and then, as a busy machine does it.
        if world.url is None:
            gc.disable()
        try:
            world.swap("b")
            follows(retriever, world.names["b"])
            until(lambda: (world.url and gc.collect(), student() is None)[1])
        finally:
            gc.enable()
        assert not world.loads.failures


def test_close_under_readers(world: World) -> None:
    retriever = world.open()
    threads = set(threading.enumerate()) - {threading.main_thread()}
    watcher = next(thread for thread in threads if world.alias in thread.name)
    began = threading.Barrier(READERS + 1)

    def read() -> list[Answer[Recommendation]]:
        answers = [retriever.recommend(TITLES[:1], 5)]
        began.wait()

        def read_on() -> None:
            while True:
                answers.append(retriever.recommend(TITLES[:1], 5))

        with pytest.raises(VectorStoreError, match="closed"):
            read_on()
        return answers

    with ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(read) for _ in range(READERS)]
        began.wait()
        time.sleep(0.05)
        retriever.close()
        assert not watcher.is_alive()
        right = expected(world, "a")[world.names["a"]][0]
        for reader in readers:
            assert all(keyphrases(answer.found) == [right] for answer in reader.result())
    retriever.close()
    for ask in (retriever.status, retriever.refresh, lambda: retriever.ready_query("x")):
        with pytest.raises(VectorStoreError, match="closed"):
            ask()


def test_close_does_not_wait_for_ever(world: World, caplog: pytest.LogCaptureFixture) -> None:
    retriever = world.open()
    with retriever.generation():
        retriever.close(wait_seconds=0.1)
    assert "under way" in caplog.text


def test_nothing_is_live(world: World) -> None:
    world.alias = "nobody-made-this"
    with pytest.raises(CollectionNotFoundError, match="names no collection yet"):
        world.open()
    assert not [thread for thread in threading.enumerate() if world.alias in thread.name]


def test_dropped_while_it_was_loaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alias moves on, and the collection that it named goes, between the look at it and the load."""
    doomed = world.build("a")
    world.swap(doomed)
    load = Generation.load

    def late(engine: Engine, target: str, *args: Any, **options: Any) -> Generation:
        if target == doomed and doomed in engine.collections():
            world.swap("b")
            engine.drop(doomed)
        return load(engine, target, *args, **options)

    monkeypatch.setattr(Generation, "load", late)
    with world.open() as retriever:
        assert retriever.recommend(TITLES[:1]).collection == world.names["b"]


def test_the_engine_is_away(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with world.open() as retriever:
        present = world.engine.aliases
        away = EngineUnavailableError("listing aliases: no connection; check that the server runs")

        def fail() -> None:
            raise away

        monkeypatch.setattr(world.engine, "aliases", fail)
        until(lambda: retriever.status().failures > 3)
        assert caplog.text.count("no connection") == 1
        assert retriever.recommend(TITLES[:1]).collection == world.names["a"]
        monkeypatch.setattr(world.engine, "aliases", present)
        until(lambda: retriever.status().failure is None)


def defective(source: str, dimension: int, version: str) -> Student:
    raise ZeroDivisionError


def test_a_defect_does_not_end_the_watch(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with world.open() as retriever:
        good, retriever._load_student = retriever._load_student, defective
        world.swap("b")
        until(lambda: retriever.status().failures > 0)
        # Counted first, told a moment later.
        until(lambda: "ZeroDivisionError" in caplog.text)
        assert "Traceback" in caplog.text
        retriever._load_student = good
        follows(retriever, world.names["b"])


def test_a_student_that_another_machine_shares(world: World, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", shared=str(tmp_path / "shared"), threads=1)
    student = world.students["b"]
    name = Path(student.source).name
    collection = world.build("b", folder=tmp_path / "elsewhere" / name)
    with LiveRetriever(
        world.engine, world.alias, student_loader(settings), params=EXACT, poll_seconds=0.02
    ) as retriever:
        world.swap(collection)
        until(lambda: "not on this machine" in (retriever.status().failure or ""))
        assert retriever.recommend(TITLES[:1]).collection == world.names["a"]
        assert settings.shared is not None
        share_student(SharedStorage(settings.shared, tmp_path), student.source, student.version)
        follows(retriever, collection)
        lists = retriever.recommend(TITLES, 5).found
    assert [[hit.keyphrase for hit in hits] for hits in lists] == expected(world, "b")[world.names["b"]]


def test_ready_queries_belong_together(world: World) -> None:
    with world.open() as retriever:
        collection, student_version, vector = retriever.ready_query(TITLES[0])
        assert (collection, student_version) == (world.names["a"], world.students["a"].version)
        assert [hit.payload["keyphrase"] for hit in world.engine.query(collection, vector, 5)]
        many = retriever.ready_queries(TITLES, ["A > B"] * len(TITLES))
        assert len(many) == len(TITLES)
        assert {ready.collection for ready in many} == {collection}


def test_a_forked_process_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.open() as retriever:
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        with pytest.raises(VectorStoreError, match="fork"):
            retriever.recommend(TITLES[:1])
        monkeypatch.undo()
