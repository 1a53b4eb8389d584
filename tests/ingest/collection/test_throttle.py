"""The limit of rows per second, by a clock of the tests' own."""

from functools import partial
from pathlib import Path

import pytest

from keydistill.encoders import Student
from keydistill.execution import Reindexer, Syncer
from keydistill.ingest.aliases import catch_up
from keydistill.ingest.collection import Throttle
from keydistill.ingest.steps import reindex as reindex_steps
from keydistill.settings import load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.inventories import write_inventory


class Clock:
    """A clock that only waiting moves on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds


def test_rows_are_spread_evenly() -> None:
    clock = Clock()
    throttle = Throttle(100, clock=clock, sleep=clock.sleep)
    written: list[tuple[float, int]] = []
    for rows in (50, 100, 10, 100):
        throttle.wait_for(rows)
        written.append((clock.seconds, rows))
    assert [at for at, _ in written] == pytest.approx([0, 0.5, 1.5, 1.6])


def test_what_was_not_used_is_not_saved_up() -> None:
    clock = Clock()
    throttle = Throttle(100, clock=clock, sleep=clock.sleep)
    clock.seconds = 1_000.0
    for _ in range(3):
        throttle.wait_for(100)
    assert clock.seconds == pytest.approx(1_002)


def test_work_that_is_slower_never_waits() -> None:
    clock = Clock()
    throttle = Throttle(100, clock=clock, sleep=lambda _: pytest.fail("it waited"))
    for _ in range(5):
        throttle.wait_for(100)
        clock.seconds += 1.5


def test_no_limit() -> None:
    throttle = Throttle(0, sleep=lambda _: pytest.fail("it waited"))
    for _ in range(3):
        throttle.wait_for(1_000_000)


def test_builds_and_syncs_obey(
    tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (reindex_steps, catch_up):
        monkeypatch.setattr(module, "Throttle", partial(Throttle, clock=clock, sleep=clock.sleep))
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    settings = load_settings(
        home=tmp_path / "home", student=str(tiny_folder), part_rows=40, gate_sample=20, build_rows_per_second=20
    )
    inventory = write_inventory(tmp_path / "inventory.csv", 100)
    with EmbeddedEngine(settings.home) as engine:
        batches: list[int] = []
        upsert = engine.upsert

        def counted(name: str, points: object) -> None:
            batches.append(len(points.ids))  # type: ignore[attr-defined]
            upsert(name, points)  # type: ignore[arg-type]

        monkeypatch.setattr(engine, "upsert", counted)
        monkeypatch.setattr(type(engine), "patient", lambda self, *_: self)
        Reindexer(settings, engine).start([inventory])
        assert (sum(batches), max(batches)) == (100, 20)
        # The last batch, of 20, waits for the 80 before it.
        assert clock.seconds == pytest.approx(4)
        batches.clear()
        more = write_inventory(tmp_path / "more.csv", 160)
        began = clock.seconds
        Syncer(settings, engine).start([more])
        assert max(batches) <= 20
        assert clock.seconds - began >= (sum(batches) - 20) / 20 > 1
