"""The shadow: a candidate is asked beside the live collection, and no caller notices, whatever becomes of it."""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from keydistill.encoders import Student
from keydistill.ingest.gate import ShadowSummary, shadow_rows
from keydistill.retrieval import Generation
from keydistill.runs import open_store, reindex_of
from keydistill.serve import shadow
from keydistill.settings import load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.serve.conftest import TITLES, Bench, OpenBench, swap
from tests.support.asked import shadow_sums, waiting_run
from tests.support.stub_students import StubStudent

BODY = {"items": [{"title": title} for title in TITLES[:3]], "limit": 5}
Home = tuple[EmbeddedEngine, Path, dict[str, str]]


def stub_loader(_: Any) -> Callable[[str, int, str], Student]:
    return lambda source, dimension, version: cast(Student, StubStudent(source, dimension))


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(shadow, "_WAIT_SECONDS", 0.01)

    monkeypatch.setattr(shadow, "student_loader", stub_loader)


@pytest.fixture
def waiting(stub_home: Home) -> Iterator[str]:
    """A run whose collection, `blue`, is ready and not live, as after `reindex --no-swap`."""
    _, folder, names = stub_home
    with waiting_run(folder, names["blue"]) as run_id:
        yield run_id


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def recorded(folder: Path, run_id: str) -> ShadowSummary | None:
    run = reindex_of(open_store(load_settings(home=folder)).load(run_id))
    return ShadowSummary.from_dict(run.shadow) if run.shadow else None


async def counted(bench: Bench, line: str) -> float:
    text = (await bench.http.get("/metrics")).text
    return sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(line + " "))


def test_what_it_finds_is_kept_with_the_run(
    open_bench: OpenBench, stub_home: Home, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, names = stub_home
    referee = SimpleNamespace(score=lambda titles, keyphrases, categories=None: np.full(len(titles), 0.9))
    monkeypatch.setattr(shadow, "reranker_of", lambda _: referee)
    monkeypatch.setattr("keydistill.serve.live.reranker_of", lambda _: referee)

    async def run() -> None:
        async with open_bench(shadow_share=1.0, assistant="referee") as bench:
            await until(lambda: bench.service.shadow._present is not None)
            for _ in range(2):
                answer = await bench.http.post("/v1/recommend", json=BODY)
                assert answer.json()["generation"]["collection"] == names["red"]
            # Only what is searched can be compared.
            assert (await bench.http.post("/v1/embed", json={"items": BODY["items"]})).status_code == 200
            await until(lambda: (found := recorded(folder, waiting)) is not None and found.items == 6)

    asyncio.run(run())
    found = recorded(folder, waiting)
    assert found is not None
    assert (found.live, found.items, found.scored) == (names["red"], 6, 6)
    # Two students of chance agree by chance alone.
    assert 0 <= found.overlap < 4
    assert found.score > 0
    assert found.seconds > 0
    assert (found.judged, found.relevant, found.live_relevant) == (30, 30, 30)


def test_without_the_option_there_is_none(open_bench: OpenBench, stub_home: Home, waiting: str) -> None:
    async def run() -> None:
        async with open_bench() as bench:
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200
            assert bench.service.shadow._thread is None

    asyncio.run(run())
    assert recorded(stub_home[1], waiting) is None


def test_a_shadow_that_hangs_for_ever_delays_nobody(
    open_bench: OpenBench, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_QUEUED_REQUESTS", 3)
    monkeypatch.setattr(shadow, "_CLOSE_SECONDS", 0.01)
    hangs, go = threading.Event(), threading.Event()

    def hanging(*_: Any, **__: Any) -> Any:
        hangs.set()
        assert go.wait(60)
        raise RuntimeError("of no use any more")

    async def run() -> None:
        async with open_bench(shadow_share=1.0) as bench:
            await until(lambda: bench.service.shadow._present is not None)
            monkeypatch.setattr(Generation, "recommend", hanging)
            dropped = await counted(bench, 'keydistill_shadow_requests_total{result="dropped"}')
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200
            await until(hangs.is_set)
            for _ in range(10):
                assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200
            # Three wait, and the memory of no more is kept.
            assert bench.service.shadow._queue.qsize() == 3
            assert await counted(bench, 'keydistill_shadow_requests_total{result="dropped"}') == dropped + 7
        # The service ended all the same.
        go.set()
        assert bench.service.shadow._thread is not None
        bench.service.shadow._thread.join(60)

    asyncio.run(run())


def test_its_failures_are_logged_once_counted_and_seen_by_no_caller(
    open_bench: OpenBench,
    stub_home: Home,
    waiting: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the candidate is broken")

    async def run() -> None:
        async with open_bench(shadow_share=1.0) as bench:
            await until(lambda: bench.service.shadow._present is not None)
            monkeypatch.setattr(Generation, "recommend", failing)
            before = await counted(bench, "keydistill_shadow_failures_total")
            for _ in range(3):
                assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200
            while await counted(bench, "keydistill_shadow_failures_total") < before + 3:
                await asyncio.sleep(0.002)

    asyncio.run(run())
    assert sum("the candidate is broken" in record.getMessage() for record in caplog.records) == 1
    assert recorded(stub_home[1], waiting) is None


def test_a_candidate_that_cannot_be_loaded_is_tried_again(
    open_bench: OpenBench, waiting: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loader = stub_loader
    tries: list[str] = []

    def broken_twice(settings: Any) -> Any:
        tries.append("")
        if len(tries) <= 2:
            raise RuntimeError("no student")
        return loader(settings)

    monkeypatch.setattr(shadow, "student_loader", broken_twice)

    async def run() -> None:
        async with open_bench(shadow_share=1.0) as bench:
            await until(lambda: bench.service.shadow._present is not None)

    asyncio.run(run())
    assert sum("no student" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("end", ["swapped", "gone"])
def test_its_memory_is_released_when_the_candidate_is_live_or_gone(
    open_bench: OpenBench, stub_home: Home, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, folder, names = stub_home

    async def run() -> None:
        async with open_bench(shadow_share=1.0) as bench:
            with waiting_run(folder, names["blue"]) as run_id:
                await until(lambda: bench.service.shadow._present is not None)
                await bench.http.post("/v1/recommend", json=BODY)
                await until(lambda: recorded(folder, run_id) is not None)
                present = bench.service.shadow._present
                assert present is not None
                student = weakref.ref(present.generation.student)
                del present
                if end == "swapped":
                    swap(engine, names["blue"])
                    await until(lambda: bench.service.shadow._present is None)
            await until(lambda: bench.service.shadow._present is None)
            # The thread may be about to let go.
            await until(lambda: student() is None)

    with caplog.at_level(logging.WARNING, shadow.__name__):
        asyncio.run(run())


def test_a_named_collection_goes_before_the_run_that_waits(
    open_bench: OpenBench, stub_home: Home, waiting: str
) -> None:
    _, _, names = stub_home

    async def run(named: str) -> str | None:
        async with open_bench(shadow_share=1.0, shadow_collection=named) as bench:
            thread = bench.service.shadow
            if named == names["blue"]:
                # Built without a run, so that there is no record to keep anything in.
                while not await counted(bench, "keydistill_shadow_failures_total"):
                    await asyncio.sleep(0.002)
            choice = (
                thread._choice(bench.engine, open_store(bench.service.settings)) if named != names["blue"] else None
            )
            return None if choice is None else choice[1]

    assert asyncio.run(run(names["red"])) is None
    assert asyncio.run(run("keyphrases-never-was")) is None
    asyncio.run(run(names["blue"]))


@pytest.mark.parametrize(
    ("values", "options", "failed"),
    [
        ({}, {}, []),
        ({}, {"shadow_min_overlap": 0.5}, ["shadow overlap@10"]),
        ({"score": 20.0}, {}, ["shadow mean top score"]),
        ({"live_judged": 100, "judged": 100, "live_relevant": 90, "relevant": 89}, {}, []),
        ({"live_judged": 100, "judged": 100, "live_relevant": 90, "relevant": 80}, {}, ["shadow relevant@10"]),
        ({"items": 99}, {"shadow_min_overlap": 0.5}, []),
        ({"compared": 0, "overlap": 0.0, "scored": 0}, {}, []),
    ],
)
def test_its_rows_have_thresholds_of_their_own(
    values: dict[str, Any], options: dict[str, Any], failed: list[str]
) -> None:
    rows = shadow_rows(shadow_sums(**values), load_settings(**options))
    assert [row.name for row in rows if row.verdict == "fail"] == failed
    assert rows[0].name == "shadow overlap@10"
    assert (rows[0].verdict == "not measured") == (values.get("items") == 99 or values.get("compared") == 0)


def test_nothing_asked_is_no_row() -> None:
    assert shadow_rows({}, load_settings()) == []
