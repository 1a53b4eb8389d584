"""Rebuilds that are played through, against rules that must hold and against a build that was timed."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from keydistill.capacity import simulate_rebuild
from keydistill.encoders import Student
from keydistill.execution import Reindexer
from keydistill.settings import load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.inventories import write_inventory

_PARTS = some.lists(some.floats(0.1, 100.0), min_size=1, max_size=30)


@given(_PARTS, some.integers(1, 8))
def test_undisturbed_workers_waste_no_time(parts: list[float], workers: int) -> None:
    rebuild = simulate_rebuild(parts, workers)
    # Graham's bound of taking parts in turn, and what cannot be beaten.
    assert max(max(parts), sum(parts) / workers) <= rebuild.seconds * (1 + 1e-9)
    assert rebuild.seconds <= sum(parts) / workers + max(parts) * (1 - 1 / workers) + 1e-6
    assert rebuild.busy_share * rebuild.seconds * workers == pytest.approx(sum(parts))
    assert (rebuild.redone, rebuild.lost_seconds) == (0, 0)


@given(_PARTS, some.integers(1, 4), some.lists(some.floats(0, 200), max_size=5), some.floats(0, 60), some.floats(0, 60))
def test_with_kills_every_part_is_done_in_the_end(
    parts: list[float], workers: int, kills: list[float], redelivery: float, restart: float
) -> None:
    rebuild = simulate_rebuild(parts, workers, kills=kills, redelivery_seconds=redelivery, restart_seconds=restart)
    assert rebuild.redone <= len(kills)
    assert rebuild.busy_share * rebuild.seconds * workers == pytest.approx(sum(parts))
    most = sum(parts) + rebuild.lost_seconds + len(kills) * (redelivery + restart) + max(parts)
    assert max(parts) <= rebuild.seconds * (1 + 1e-9)
    assert rebuild.seconds <= most + 1e-6


def test_a_kill_after_the_end_costs_nothing() -> None:
    assert simulate_rebuild([5.0, 5.0], 1, kills=[100.0]) == simulate_rebuild([5.0, 5.0], 1)


def test_a_lone_worker_that_is_killed_comes_back() -> None:
    rebuild = simulate_rebuild([10.0], 1, kills=[4.0], redelivery_seconds=6.0, restart_seconds=30.0)
    assert (rebuild.seconds, rebuild.lost_seconds) == (44.0, 4.0)
    assert simulate_rebuild([10.0], 1, kills=[4.0], redelivery_seconds=60.0, restart_seconds=0.0).seconds == 74.0


def test_a_build_takes_what_its_parts_take(
    tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of an actual build, timed one by one, played through on one worker: the time of the whole step."""
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    settings = load_settings(home=tmp_path / "home", student=str(tiny_folder), part_rows=200, gate_sample=20)
    with EmbeddedEngine(settings.home) as engine:
        work = Reindexer(settings, engine)
        ends: list[float] = []
        steps = work._steps
        embed = steps.embed_parts

        def timed(run: Any, numbers: Any, lease: Any, recorded: Any = None, *rest: Any, **more: Any) -> Any:
            def noted(latest: Any) -> None:
                ends.append(time.perf_counter())
                if recorded is not None:
                    recorded(latest)

            ends.append(time.perf_counter())
            return embed(run, numbers, lease, noted, *rest, **more)

        monkeypatch.setattr(steps, "embed_parts", timed)
        run = work.start([write_inventory(tmp_path / "inventory.csv", 2_000)])
    assert run.state == "live"
    assert len(ends) == run.parts + 1 == 11
    parts = [after - before for before, after in pairwise(ends)]
    assert simulate_rebuild(parts, 1).seconds == pytest.approx(run.timings["embedding"], rel=0.2, abs=0.2)
    assert simulate_rebuild(parts, 3).seconds >= run.timings["embedding"] / 3 - 0.2
