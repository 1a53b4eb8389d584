import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.encoders import Student
from keydistill.errors import (
    AliasChangedError,
    RunBusyError,
    RunStateError,
    StorageError,
    StudentMismatchError,
    TooManyRejectsError,
    VectorStoreError,
    VerificationError,
)
from keydistill.execution import Reindexer
from keydistill.ingest.snapshot import Snapshot
from keydistill.progress import NoProgress
from keydistill.runs import reindex_of
from keydistill.runs.file_store import FileRunStore
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import Engine, PointBatch
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.execution.at_hand import at_hand
from tests.support.inventories import write_inventory
from tests.support.warm_processes import warm_command

ROWS = 240
PART_ROWS = 50


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory.csv", ROWS)


@pytest.fixture
def settings(tmp_path: Path, tiny_folder: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home",
        student=str(tiny_folder),
        part_rows=PART_ROWS,
        upsert_batch=20,
        reuse_vectors=False,
        gate_sample=20,
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with EmbeddedEngine(settings.home) as engine:
        yield engine


@pytest.fixture
def reindexer(settings: Settings, engine: Engine, tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> Reindexer:
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    return Reindexer(settings, engine)


def content(engine: Engine, name: str) -> dict[str, tuple[str, np.ndarray]]:
    return {
        record.id: (json.dumps(record.payload, sort_keys=True), np.asarray(record.vector))
        for record in engine.scroll(name, with_vectors=True)
    }


def assert_same(content: dict[str, tuple[str, np.ndarray]], expected: dict[str, tuple[str, np.ndarray]]) -> None:
    assert {id: payload for id, (payload, _) in content.items()} == {
        id: payload for id, (payload, _) in expected.items()
    }
    for id, (_, vector) in expected.items():
        np.testing.assert_allclose(content[id][1], vector, atol=1e-5)


def test_a_reindex_puts_every_keyphrase_live(
    reindexer: Reindexer, engine: Engine, inventory: Path, tiny_student: Student
) -> None:
    run = reindexer.start([inventory])
    assert run.state == "live"
    assert engine.aliases() == {"keyphrases": run.collection}
    assert run.rows == engine.count("keyphrases") == ROWS
    assert sorted(run.parts_done) == list(range(run.parts)) == [0, 1, 2, 3, 4]
    records = {record.payload["keyphrase"]: record for record in engine.scroll("keyphrases", with_vectors=True)}
    record = records["blue red red x 1"]
    assert record.payload == {
        "keyphrase": "blue red red x 1",
        "category_ids": ["Root", "Root > Branch 1", "Root > Branch 1 > Leaf 1"],
        "search_volume": 1,
        "site": "US",
        "brand": "b1",
        "text_hash": record.payload["text_hash"],
    }
    np.testing.assert_allclose(
        np.asarray(record.vector), tiny_student.embed_keyphrases(["blue red red x 1"])[0], atol=1e-5
    )
    assert "category_ids" not in records["red red red 0"].payload


def test_the_collection_says_where_it_comes_from(
    reindexer: Reindexer, engine: Engine, inventory: Path, tiny_student: Student
) -> None:
    run = reindexer.start([inventory])
    metadata = engine.info("keyphrases").metadata
    assert metadata["run"] == run.id
    assert metadata["student_version"] == tiny_student.version
    assert metadata["rows"] == ROWS
    assert set(metadata["payload_indexes"]) == set(engine.info("keyphrases").payload_indexes)


def test_the_same_inventory_makes_the_same_collection(reindexer: Reindexer, engine: Engine, inventory: Path) -> None:
    first = reindexer.start([inventory])
    second = reindexer.start([inventory])
    assert second.previous_target == first.collection
    assert engine.aliases() == {"keyphrases": second.collection}
    assert_same(content(engine, second.collection), content(engine, first.collection))


def test_the_run_that_was_live_is_retired(reindexer: Reindexer, settings: Settings, inventory: Path) -> None:
    first = reindexer.start([inventory])
    second = reindexer.start([inventory])
    states = {run.id: run.state for run in FileRunStore(settings.home).all()}
    assert states == {first.id: "retired", second.id: "live"}


def test_without_a_swap_the_alias_stays(reindexer: Reindexer, engine: Engine, inventory: Path) -> None:
    first = reindexer.start([inventory])
    second = reindexer.start([inventory], swap=False)
    assert second.state == "ready"
    assert engine.aliases() == {"keyphrases": first.collection}
    assert engine.count(second.collection) == ROWS
    with pytest.raises(RunStateError, match="nothing to resume"):
        reindexer.resume(second.id)


def test_too_many_rejects_fail_before_anything_is_built(
    reindexer: Reindexer, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("keyphrase\n" + "good\n" * 5 + '"\x01"\n' * 5, encoding="utf-8")
    with pytest.raises(TooManyRejectsError, match=r"50"):
        reindexer.start([bad])
    assert engine.collections() == []
    (run,) = FileRunStore(settings.home).all()
    assert (run.state, run.failed_in) == ("failed", "snapshot")
    assert run.error


def test_a_disk_that_is_too_small_fails_before_the_collection_is_begun(
    reindexer: Reindexer,
    engine: Engine,
    settings: Settings,
    inventory: Path,
    tiny_student: Student,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = shutil.disk_usage(settings.home.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=10_000_000))
    with pytest.raises(StorageError, match=r"needs about 3\d MB, the disk of .* has 10 MB free; make room"):
        reindexer.start([inventory])
    assert engine.collections() == []
    monkeypatch.undo()
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    assert reindexer.resume(at_hand(reindexer).id).state == "live"
    assert engine.count("keyphrases") == ROWS


class Interrupting:
    """Progress that raises at the n-th report of a step."""

    def __init__(self, step: str, after: int, error: BaseException) -> None:
        self.step, self.after, self.error = step, after, error
        self.present = ""

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.present = step
        self._maybe()

    def advance(self, count: int) -> None:
        self._maybe()

    def _maybe(self) -> None:
        if self.present == self.step:
            self.after -= 1
            if self.after == 0:
                raise self.error


@pytest.mark.parametrize(
    ("step", "after"),
    [("snapshot", 1), ("embed and upsert", 1), ("embed and upsert", 9), ("optimise", 1), ("verify", 1)],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), VerificationError("pretended")], ids=["ctrl-c", "failure"])
def test_a_run_that_stopped_anywhere_resumes_to_the_same_collection(
    reindexer: Reindexer,
    settings: Settings,
    engine: Engine,
    inventory: Path,
    step: str,
    after: int,
    error: BaseException,
) -> None:
    live = reindexer.start([inventory])
    reindexer._steps._progress = reindexer._progress = Interrupting(step, after, error)
    with pytest.raises(type(error)):
        reindexer.start([inventory])
    assert engine.aliases() == {"keyphrases": live.collection}
    stopped = at_hand(reindexer)
    assert FileRunStore(settings.home).load(stopped.id).state == (
        "failed" if isinstance(error, VerificationError) else stopped.state
    )
    with EmbeddedEngine(settings.home) as other:
        engine.close()  # as the death of the process would
        run = Reindexer(settings, other).resume(stopped.id)
        assert run.state == "live"
        assert_same(content(other, "keyphrases"), content(other, live.collection))


def test_a_resumed_run_repeats_no_finished_part(
    reindexer: Reindexer, tiny_student: Student, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reindexer._steps._progress = reindexer._progress = Interrupting("embed and upsert", 5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reindexer.start([inventory])
    done = len(at_hand(reindexer).parts_done)
    assert 0 < done < 5
    embedded: list[int] = []
    original = tiny_student.embed_keyphrases

    def counted(texts: Sequence[str], *rest: Any) -> Any:
        embedded.append(len(texts))
        return original(texts, *rest)

    monkeypatch.setattr(tiny_student, "embed_keyphrases", counted)
    run = reindexer.resume(at_hand(reindexer).id)
    assert sum(embedded) == ROWS - done * PART_ROWS + run.report["rows_embedded_again"]


def test_a_part_is_done_only_when_all_its_points_are_written(
    reindexer: Reindexer, engine: Engine, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = engine.upsert
    written: list[int] = []

    def failing(name: str, points: PointBatch) -> None:
        # Of 50 rows in batches of 20, the last batch of the second part; the third one is embedded by then.
        written.append(len(points))
        if len(written) == 6:
            raise VectorStoreError("pretended")
        upsert(name, points)

    monkeypatch.setattr(engine, "upsert", failing)
    with pytest.raises(VectorStoreError, match="pretended"):
        reindexer.start([inventory])
    assert written == [20, 20, 10, 20, 20, 10]
    assert at_hand(reindexer).parts_done == (0,)
    monkeypatch.setattr(engine, "upsert", upsert)
    assert reindexer.resume(at_hand(reindexer).id).state == "live"
    assert engine.count("keyphrases") == ROWS


def test_a_swap_by_somebody_else_is_not_undone(reindexer: Reindexer, engine: Engine, inventory: Path) -> None:
    first = reindexer.start([inventory], swap=False)
    reindexer._steps._progress = reindexer._progress = Interrupting("verify", 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reindexer.start([inventory])
    engine.swap_alias("keyphrases", first.collection, None)
    reindexer._steps._progress = reindexer._progress = NoProgress()
    with pytest.raises(AliasChangedError, match="somebody else swapped"):
        reindexer.resume(at_hand(reindexer).id)
    assert engine.aliases() == {"keyphrases": first.collection}


def test_killed_between_the_swap_and_its_record(
    reindexer: Reindexer, settings: Settings, engine: Engine, inventory: Path
) -> None:
    run = reindexer.start([inventory])
    store = FileRunStore(settings.home)
    store.update(run.id, lambda now: now.changed(state="ready"))
    assert reindexer.resume(run.id).state == "live"
    assert engine.aliases() == {"keyphrases": run.collection}


def test_a_missing_point_is_found(
    reindexer: Reindexer, engine: Engine, settings: Settings, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = EmbeddedEngine.upsert

    def forgetful(self: EmbeddedEngine, name: str, points: PointBatch) -> None:
        upsert(self, name, points)
        self.delete(name, points.ids[-1:])

    monkeypatch.setattr(EmbeddedEngine, "upsert", forgetful)
    with pytest.raises(VerificationError, match=r"has points \d+, its snapshot says 240"):
        reindexer.start([inventory])
    assert engine.aliases() == {}


def test_a_vector_of_another_text_is_found(
    reindexer: Reindexer, engine: Engine, tiny_student: Student, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tiny_student.embed_keyphrases

    def shifted(texts: Sequence[str], *rest: Any) -> Any:
        vectors = original(texts, *rest)
        return np.roll(vectors, 1, axis=0) if len(texts) == PART_ROWS else vectors

    monkeypatch.setattr(tiny_student, "embed_keyphrases", shifted)
    with pytest.raises(VerificationError, match="away from its text embedded again"):
        reindexer.start([inventory])
    assert engine.aliases() == {}


def test_a_payload_that_differs_is_found(
    reindexer: Reindexer, engine: Engine, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = EmbeddedEngine.upsert

    def careless(self: EmbeddedEngine, name: str, points: PointBatch) -> None:
        for payload in points.payloads:
            payload["search_volume"] = 7
        upsert(self, name, points)

    monkeypatch.setattr(EmbeddedEngine, "upsert", careless)
    with pytest.raises(VerificationError, match=r"the payload of .* differs"):
        reindexer.start([inventory])


def test_another_student_cannot_go_on_with_a_run(
    reindexer: Reindexer, settings: Settings, engine: Engine, inventory: Path
) -> None:
    reindexer._steps._progress = reindexer._progress = Interrupting("embed and upsert", 9, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reindexer.start([inventory])
    store = FileRunStore(settings.home)
    run = store.update(at_hand(reindexer).id, lambda now: now.changed(student_version="another-384d-000000000000"))
    with pytest.raises(StudentMismatchError, match="began with student another"):
        Reindexer(settings, engine).resume(run.id)


def test_a_snapshot_that_was_tampered_with_is_refused(
    reindexer: Reindexer, settings: Settings, inventory: Path
) -> None:
    reindexer._steps._progress = reindexer._progress = Interrupting("optimise", 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reindexer.start([inventory])
    folder = FileRunStore(settings.home).folder(at_hand(reindexer).id) / "snapshot"
    part = Snapshot.open(folder).parts[2].path
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    reindexer._steps._progress = reindexer._progress = NoProgress()
    with pytest.raises(Exception, match="is not what was written"):
        reindexer.resume(at_hand(reindexer).id)


def hold_lock(home: Path, holding: Event, release: Event) -> None:
    with FileRunStore(home).lease("build:keyphrases", "20261129-000000-0a1b2c"):
        holding.set()
        release.wait()


def test_of_two_builds_for_one_alias_the_second_is_told_of_the_first(
    reindexer: Reindexer, settings: Settings, inventory: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    holding, release = context.Event(), context.Event()
    other = context.Process(target=hold_lock, args=(settings.home, holding, release))
    other.start()
    assert holding.wait(30)
    with pytest.raises(RunBusyError, match="run 20261129-000000-0a1b2c is building for alias 'keyphrases'"):
        reindexer.start([inventory])
    release.set()
    other.join()
    assert reindexer.start([inventory]).state == "live"


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_command_resumes_to_the_same_collection(
    reindexer: Reindexer, settings: Settings, engine: Engine, inventory: Path, tmp_path: Path, how: signal.Signals
) -> None:
    big = write_inventory(tmp_path / "big.csv", rows=2_000)
    environment = {**os.environ, "KEYDISTILL_HOME": str(settings.home), "KEYDISTILL_PART_ROWS": "50"}
    environment["KEYDISTILL_STUDENT"] = settings.student
    process = warm_command(["reindex", big], environment, tmp_path / "commands")
    store = FileRunStore(settings.home)
    while not any(len(reindex_of(run).parts_done) >= 3 for run in store.all()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(how)
    _, message = process.communicate(timeout=60)
    run = reindex_of(*store.all())
    assert run.state == "building"
    assert engine.aliases() == {}
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert message == (
            f"interrupted while building; what is live was not touched; "
            f"go on with: keydistill reindex --resume {run.id}\n"
        )
    assert warm_command(["reindex", "--resume", run.id], environment, tmp_path / "commands").wait(60) == 0
    assert engine.count("keyphrases") == 2_000
    uninterrupted = reindexer.start([big])
    assert_same(content(engine, run.collection), content(engine, uninterrupted.collection))
