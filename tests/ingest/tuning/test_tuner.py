"""`keydistill tune`: the cheapest settings that find enough are chosen, kept with the collection, and survive syncs."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from keydistill.encoders import Student
from keydistill.errors import CollectionNotFoundError, CollectionStateError, InputError, RunError
from keydistill.execution import Syncer
from keydistill.ingest.filters.shapes import SHAPES, Query
from keydistill.ingest.gate import GateItems
from keydistill.ingest.tuning import Tuner, TuningReport
from keydistill.ingest.tuning.choice import EFS, EXACT, Choice, Floats, choose
from keydistill.ingest.tuning.queries import FilteredQuery, queries_by_shape
from keydistill.retrieval import Generation, TunedSearch, filter_shape
from keydistill.runs import SyncRun
from keydistill.vectorstore import (
    CollectionInfo,
    CollectionSpec,
    Engine,
    Filter,
    Hit,
    PointBatch,
    SearchParams,
    Vectors,
    keyphrase_filter,
)
from tests.support.front_process import FrontProcess
from tests.support.gate_bench import Bench, only_loads, open_bench
from tests.support.inventories import write_inventory

DEFAULT = SearchParams()
NARROW = "category_ids level 2 + search_volume range"
SHAPE = "search_volume range + site"
ROWS = 70


@dataclass
class Fake:
    """A shape whose recall and latency are known."""

    recall: Callable[[SearchParams], float]
    cost: Callable[[SearchParams], float] = lambda params: 40.0 if params.exact else params.ef / 100
    groups: list[str] = field(default_factory=lambda: ["leaf"] * 60 + ["above"] * 40)
    asked: list[SearchParams] = field(default_factory=list)

    exact_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.exact_seconds = self.cost(EXACT)

    def shares(self, params: SearchParams) -> tuple[Floats, float]:
        self.asked.append(params)
        return np.full(len(self.groups), self.recall(params)), self.cost(params)

    def milliseconds(self, params: SearchParams) -> Floats:
        return np.full(20, self.cost(params))


def chosen(fake: Fake, target: float = 0.98, *, filtered: bool = True, quantized: bool = True) -> Choice:
    return choose(fake, target, DEFAULT, filtered=filtered, quantized=quantized)


def test_more_candidates_where_few_find_too_little() -> None:
    choice = chosen(Fake(lambda params: 0.99 if params.ef >= 256 else 0.9 + params.ef / 10_000))
    assert choice.chosen.params.ef == 256
    assert choice.chosen.recall == pytest.approx(0.99)
    assert choice.before.params == DEFAULT
    assert choice.before.recall == pytest.approx(0.9128)
    assert choice.reached


def test_fewer_candidates_where_few_find_enough() -> None:
    fake = Fake(lambda params: 1.0)
    choice = chosen(fake)
    assert choice.chosen.params == SearchParams(ef=EFS[0], oversampling=1.0)
    # Nothing that can only cost more was asked for.
    assert fake.asked == [DEFAULT, choice.chosen.params]
    assert choice.tried == 2


def test_more_oversampling_where_quantized_vectors_confuse() -> None:
    choice = chosen(Fake(lambda params: 0.99 if params.oversampling >= 3 else 0.9))
    assert (choice.chosen.params.ef, choice.chosen.params.oversampling) == (EFS[0], 3.0)
    assert chosen(Fake(lambda params: 0.9), quantized=False).tried == 1 + 2 * 3


def test_acorn_where_the_graph_falls_apart() -> None:
    fake = Fake(lambda params: 0.99 if params.acorn and params.ef >= 64 else 0.7)
    assert chosen(fake).chosen.params == SearchParams(ef=64, oversampling=1.0, acorn=True)
    unfiltered = Fake(fake.recall)
    assert chosen(unfiltered, filtered=False).chosen.params == EXACT
    assert not any(params.acorn for params in unfiltered.asked)


def test_exact_where_nothing_finds_enough() -> None:
    choice = chosen(Fake(lambda params: 0.97))
    assert choice.chosen.params == EXACT
    assert (choice.chosen.recall, choice.chosen.p50_ms, choice.reached) == (1.0, 40.0, False)
    # More candidates that find no more are not tried any longer: of five rungs three.
    assert choice.tried == 1 + 2 * 4 * 3 - 1


def test_exact_where_it_is_surely_cheaper() -> None:
    def costing(exact: float) -> Fake:
        return Fake(lambda params: 1.0, lambda params: exact if params.exact else 1.0)

    assert chosen(costing(0.5)).chosen.params == EXACT
    assert chosen(costing(0.98)).chosen.params != EXACT


def test_latency_decides_and_not_the_order_of_the_grid() -> None:
    fake = Fake(
        lambda params: 0.99 if params.ef * params.oversampling >= 128 else 0.9,
        lambda params: 40.0 if params.exact else params.ef / 100 + params.oversampling / 10,
    )
    assert chosen(fake).chosen.params == SearchParams(ef=32, oversampling=4.0)


def test_no_group_of_queries_is_traded_for_another() -> None:
    class Uneven(Fake):
        def shares(self, params: SearchParams) -> tuple[Floats, float]:
            shares, cost = super().shares(params)
            if params.ef < 512:
                shares[[group == "above" for group in self.groups]] = 0.97 + params.ef / 100_000
            return shares, cost

    groups = ["leaf"] * 960 + ["above"] * 40
    assert chosen(Uneven(lambda params: 1.0, groups=groups)).chosen.params.ef == 512
    assert chosen(Uneven(lambda params: 1.0, groups=["leaf"] * 980 + ["above"] * 20)).chosen.params.ef == EFS[0]


def test_a_mean_that_may_be_luck_is_not_enough() -> None:
    class Spread(Fake):
        def shares(self, params: SearchParams) -> tuple[Floats, float]:
            shares, cost = super().shares(params)
            if params.ef < 512:
                shares[::50] = 0.1 + params.ef / 10_000  # mean 0.982, of which nobody can be sure
            return shares, cost

    choice = chosen(Spread(lambda params: 1.0))
    assert choice.before.recall == pytest.approx(0.982, abs=0.001)
    assert choice.before.recall_low < 0.98
    assert choice.chosen.params.ef == 512


def items_of(queries: list[Query], rows: Sequence[Mapping[str, int | None]]) -> GateItems:
    """As much of them as shapes are made of."""
    profile = SimpleNamespace(sample=rows)
    return cast(GateItems, SimpleNamespace(queries=queries, profile=profile))


def test_every_shape_of_serving_is_asked_for() -> None:
    query = Query("1", "shoes", "us", "A > B > C", "A > B")
    volumes = [{"search_volume": volume} for volume in range(0, 101)]
    queries = queries_by_shape(items_of([query] * 3, volumes))
    assert set(queries) >= {filter_shape(shape.filter(query, 10)) for shape in SHAPES}
    assert len(queries) == 4 * 2 * 2
    assert {each.group for each in queries["category_ids level 2 + search_volume range"]} == {
        "above volume 50",
        "above volume 90",
    }
    assert {each.group for each in queries["category_ids level 3"]} == {"leaf"}
    bare = items_of([Query("1", "x")], [{"search_volume": None}])
    assert list(queries_by_shape(bare)) == ["no filter"]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


@pytest.fixture(params=["embedded", "server"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(
    kind: str,
    tmp_path: Path,
    front: FrontProcess,
    tiny_folder: Path,
    tiny_student: Student,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    only_loads(monkeypatch, tiny_student)
    # What is timed decides nothing below.
    monkeypatch.setattr("keydistill.ingest.tuning.choice._REPEATS", 1)
    monkeypatch.setattr("keydistill.ingest.tuning.shape_queries._TIMED_QUERIES", 3)
    monkeypatch.setattr("keydistill.ingest.gate.measures._REPEATS", 1)
    monkeypatch.setattr("keydistill.ingest.gate.measures._TIMED_QUERIES", 3)
    url = "" if kind == "embedded" else front.url
    with open_bench(kind, tmp_path / "home", url, str(tiny_folder)) as opened:
        yield Bench(opened.engine, opened.settings.model_copy(update={"gate_sample": 5}))


embedded_only = pytest.mark.parametrize("kind", ["embedded"], indirect=True)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory.csv", ROWS)


def tuner(bench: Bench) -> Tuner:
    return Tuner(bench.settings, bench.engine, bench.store)


def kept(bench: Bench) -> TunedSearch | None:
    return TunedSearch.of(bench.engine.info(bench.settings.alias))


def live_info(bench: Bench) -> CollectionInfo:
    assert bench.live is not None
    return bench.engine.info(bench.live)


def only_ask(monkeypatch: pytest.MonkeyPatch, *shapes: str) -> None:
    def queries_of_shapes(items: GateItems) -> dict[str, list[FilteredQuery]]:
        queries = queries_by_shape(items)
        return {shape: queries[shape] for shape in shapes}

    monkeypatch.setattr("keydistill.ingest.tuning.tuner.queries_by_shape", queries_of_shapes)


def sync(bench: Bench, path: Path, rows: int) -> SyncRun:
    return Syncer(bench.settings, bench.engine).start([write_inventory(path, rows)])


def test_a_shape_that_finds_too_little_is_tuned_up(
    bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.build(inventory)
    engine = type(bench.engine)
    query_batch = engine.query_batch
    seen: list[SearchParams] = []

    def holey(
        self: Engine,
        name: str,
        vectors: Vectors,
        limit: int,
        filters: Sequence[Filter | None] | None = None,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        hits = query_batch(self, name, vectors, limit, filters, params)
        assert params is not None
        assert filters is not None
        seen.append(params)
        if params.exact or params.ef >= 64:
            return hits
        return [
            each[:1] + each[3:] if filter_shape(of) == NARROW else each for of, each in zip(filters, hits, strict=True)
        ]

    monkeypatch.setattr(engine, "query_batch", holey)
    only_ask(monkeypatch, "no filter", NARROW, SHAPE)
    before = bench.settings.model_copy(update={"search_ef": 48})
    report = Tuner(before, bench.engine, bench.store).measure(target=0.95, queries=ROWS)
    shape_reports = {each.shape: each for each in report.shapes}
    assert shape_reports[NARROW].choice.chosen.params.ef >= 64
    assert (shape_reports[NARROW].choice.before.params.ef, shape_reports[NARROW].choice.before.recall < 0.95) == (
        48,
        True,
    )
    assert all(each.choice.chosen.recall_low >= 0.95 for each in report.shapes)
    assert all(0 < each.choice.chosen.p50_ms <= each.choice.chosen.p99_ms for each in report.shapes)
    assert (shape_reports["no filter"].passing, shape_reports["no filter"].queries) == (ROWS, ROWS)
    assert report.items.startswith(f"{ROWS} keyphrases of the inventory stand in for items")
    # Nothing was written so far.
    assert kept(bench) is None

    assert tuner(bench).write(report) == run.collection
    assert kept(bench) == TunedSearch.from_dict(report.tuned.as_dict())
    assert report.tuned.shapes.keys() == shape_reports.keys()
    generation = Generation.live(bench.settings, bench.engine)
    seen.clear()
    filter = keyphrase_filter(category="Root > Branch 1", min_search_volume=10)
    assert filter_shape(filter) == NARROW
    generation.recommend(["red shoes"], 10, [filter])
    assert seen == [shape_reports[NARROW].choice.chosen.params]

    assert tuner(bench).forget() == run.collection
    assert "search" not in bench.engine.info(run.collection).metadata


@pytest.fixture
def report(bench: Bench, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> TuningReport:
    """Of a live collection, of one shape."""
    bench.build(inventory)
    only_ask(monkeypatch, SHAPE)
    return tuner(bench).measure(queries=60)


def test_syncs_and_tuning_lose_nothing_of_each_other(
    bench: Bench, report: TuningReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync is waited for: a copy that is being changed would not have what is written to its source meanwhile."""
    engine = type(bench.engine)
    upsert = engine.upsert
    threads: list[threading.Thread] = []

    def meanwhile(self: Engine, name: str, points: PointBatch) -> None:
        if not threads:
            threads.append(threading.Thread(target=tuner(bench).write, args=[report]))
            threads[0].start()
            threads[0].join(0.3)
            assert threads[0].is_alive()
        upsert(self, name, points)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "upsert", meanwhile)
        run = sync(bench, tmp_path / "a.csv", ROWS + 10)
    threads[0].join(20)
    metadata = live_info(bench).metadata
    assert (metadata["snapshot_run"], metadata["journal"], "applying" in metadata) == (run.id, 1, False)
    assert kept(bench) == TunedSearch.from_dict(report.tuned.as_dict())

    # A sync keeps it, whether it changes the collection or puts a copy in its place.
    before, expected = bench.live, kept(bench)
    run = sync(bench, tmp_path / "b.csv", ROWS + 20)
    assert (bench.live == before) == bench.engine.changes_in_place
    assert live_info(bench).metadata["snapshot_run"] == run.id
    assert kept(bench) == expected

    # And what was measured before a sync is written to what is there after it.
    tuner(bench).forget()
    assert kept(bench) is None
    assert tuner(bench).write(report) == bench.live
    assert kept(bench) == expected


class KilledError(BaseException):
    """As if the process had died."""


@embedded_only
def test_a_sync_that_died_before_its_copy_went_live(
    bench: Bench, report: TuningReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KilledError

    syncer = Syncer(bench.settings, bench.engine)
    with monkeypatch.context() as patch:
        patch.setattr(type(bench.engine), "swap_alias", killed)
        new = write_inventory(tmp_path / "new.csv", ROWS + 10)
        with pytest.raises(KilledError):
            syncer.start([new])
    before = bench.live
    assert tuner(bench).write(report) == before
    assert syncer.run is not None
    Syncer(bench.settings, bench.engine).resume(syncer.run.id)
    assert bench.live != before
    assert kept(bench) == TunedSearch.from_dict(report.tuned.as_dict())


@embedded_only
def test_a_rebuild_of_the_same_keeps_it_and_another_does_not(
    bench: Bench, report: TuningReport, inventory: Path, tmp_path: Path
) -> None:
    tuner(bench).write(report)
    expected = kept(bench)
    assert bench.build(inventory).collection == bench.live != report.collection
    assert kept(bench) == expected
    bench.build(write_inventory(tmp_path / "other.csv", ROWS + 10))
    assert "search" not in bench.engine.info(bench.live).metadata


@embedded_only
def test_what_cannot_be_tuned(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFoundError, match="names no collection yet"):
        tuner(bench).measure()
    bench.engine.create("foreign", CollectionSpec(4), {})
    with pytest.raises(CollectionStateError, match="is building"):
        tuner(bench).measure("foreign")
    bench.engine.finish("foreign")
    with pytest.raises(RunError, match="built by no run"):
        tuner(bench).measure("foreign")
    with pytest.raises(RunError, match="built by no run"):
        tuner(bench).forget("foreign")
    bench.build(write_inventory(tmp_path / "small.csv", 30))
    with pytest.raises(InputError, match="no shape of filter is asked for by 50 of 30 keyphrases") as refused:
        tuner(bench).measure()
    assert "\n" not in str(refused.value)
