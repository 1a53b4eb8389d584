"""What every engine promises, on every engine."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from keydistill.errors import (
    AliasChangedError,
    CollectionExistsError,
    CollectionNotFoundError,
    CollectionStateError,
    VectorStoreError,
)
from keydistill.vectorstore import (
    AnyOf,
    CollectionSpec,
    Engine,
    Equals,
    Filter,
    Payload,
    PointBatch,
    Range,
    Record,
    SearchParams,
    keyphrase_filter,
)
from tests.support.corpus import DIMENSION, SPEC, Corpus, make_corpus, point_id, unit_vectors
from tests.vectorstore.conftest import Bench

# What the client's local mode says of payload indexes and search parameters.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")

EXACT = SearchParams(exact=True)


@dataclass(frozen=True)
class Shape:
    """A filter, and the same in Python."""

    filter: Filter
    passes: Callable[[Payload], bool]


SHAPES = {
    "empty": Shape(Filter(), lambda p: True),
    "equals in a list": Shape(Filter((Equals("category_ids", "root 3"),)), lambda p: "root 3" in p["category_ids"]),
    "equals text": Shape(Filter((Equals("site", "de"),)), lambda p: p["site"] == "de"),
    "equals integer": Shape(Filter((Equals("search_volume", 500),)), lambda p: p["search_volume"] == 500),
    "equals bool": Shape(Filter((Equals("active", False),)), lambda p: p["active"] is False),
    "equals integer in a list, no index": Shape(Filter((Equals("codes", 3),)), lambda p: 3 in p["codes"]),
    "any of text": Shape(
        Filter((AnyOf("category_ids", ("root 1 > leaf 6", "root 2")),)),
        lambda p: "root 1 > leaf 6" in p["category_ids"] or "root 2" in p["category_ids"],
    ),
    "any of integers": Shape(
        Filter((AnyOf("search_volume", tuple(range(0, 100, 3))),)), lambda p: p["search_volume"] in range(0, 100, 3)
    ),
    "gte": Shape(Filter((Range("search_volume", gte=900),)), lambda p: p["search_volume"] >= 900),
    "gt": Shape(Filter((Range("search_volume", gt=900),)), lambda p: p["search_volume"] > 900),
    "lte": Shape(Filter((Range("search_volume", lte=50),)), lambda p: p["search_volume"] <= 50),
    "lt": Shape(Filter((Range("search_volume", lt=50),)), lambda p: p["search_volume"] < 50),
    "between, of a float": Shape(Filter((Range("bid", gte=0.5, lt=0.75),)), lambda p: 0.5 <= p["bid"] < 0.75),
    "all of the keyphrase filter": Shape(
        keyphrase_filter(category="root 4", site="us", min_search_volume=200, where=[Equals("active", True)]),
        lambda p: "root 4" in p["category_ids"] and p["site"] == "us" and p["search_volume"] >= 200 and p["active"],
    ),
    "nothing passes": Shape(Filter((Equals("site", "fr"),)), lambda p: False),
    "no such field": Shape(Filter((Equals("colour", "red"),)), lambda p: False),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus()


@pytest.fixture(scope="module")
def stored(bench: Bench, corpus: Corpus) -> str:
    """A finished collection with the whole corpus, which tests only read."""
    name = bench.name("corpus")
    bench.engine.create(name, SPEC, {})
    for batch in corpus.batches():
        bench.engine.upsert(name, batch)
    bench.engine.finish(name)
    return name


@pytest.fixture
def engine(bench: Bench) -> Engine:
    return bench.engine


@pytest.fixture
def building(bench: Bench) -> str:
    """A collection with four points that is still building."""
    name = bench.name()
    bench.engine.create(name, SPEC, {})
    bench.engine.upsert(name, points(4))
    return name


@pytest.fixture
def ready(bench: Bench, building: str) -> str:
    bench.engine.finish(building)
    return building


def points(count: int, seed: int = 5) -> PointBatch:
    payloads: list[Payload] = [{"site": "us", "search_volume": number} for number in range(count)]
    return PointBatch([point_id(number) for number in range(count)], unit_vectors(count, seed), payloads)


def by_id(records: Iterator[Record]) -> dict[str, Record]:
    return {record.id: record for record in records}


def is_one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) > 20


class TestCreate:
    def test_new_collection_is_empty_and_building(self, bench: Bench, engine: Engine) -> None:
        name = bench.name()
        metadata = {"student": "v1", "größe": {"list": [1, "é", None], "flag": True, "share": 0.25}}
        engine.create(name, SPEC, metadata)
        info = engine.info(name)
        assert (info.name, info.state, info.dimension, info.points) == (name, "building", DIMENSION, 0)
        assert info.metadata == metadata
        assert name in engine.collections()
        assert engine.collections() == sorted(engine.collections())

    def test_payload_indexes_are_there_before_any_point(self, bench: Bench, engine: Engine) -> None:
        if bench.kind == "local":
            pytest.skip("the client's local mode has no payload indexes")
        name = bench.name()
        engine.create(name, SPEC, {})
        assert engine.info(name).payload_indexes == SPEC.payload_indexes

    def test_without_quantization_and_indexes(self, bench: Bench, engine: Engine) -> None:
        name = bench.name()
        engine.create(name, CollectionSpec(dimension=DIMENSION, quantization="none"), {})
        engine.upsert(name, points(3))
        engine.finish(name)
        assert engine.query(name, points(3).vectors[1], 1)[0].id == point_id(1)
        assert engine.info(name).payload_indexes == {}

    def test_name_that_exists_is_refused(self, engine: Engine, building: str) -> None:
        with pytest.raises(CollectionExistsError, match=building) as caught:
            engine.create(building, SPEC, {"other": 1})
        assert is_one_line(caught.value)
        assert (engine.count(building), engine.info(building).metadata) == (4, {})

    def test_name_of_an_alias_is_refused(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        with pytest.raises(CollectionExistsError, match=alias):
            engine.create(alias, SPEC, {})
        assert engine.count(alias) == 4


class TestWrite:
    def test_writing_twice_is_writing_once(self, engine: Engine, building: str) -> None:
        engine.upsert(building, points(4))
        assert engine.count(building) == 4
        assert len(list(engine.scroll(building))) == 4

    def test_later_write_replaces_vector_and_payload(self, engine: Engine, building: str) -> None:
        vector = unit_vectors(1, seed=99)
        engine.upsert(building, PointBatch([point_id(2)], vector, [{"only": 1}]))
        [record] = engine.retrieve(building, [point_id(2)], with_vectors=True)
        assert record.payload == {"only": 1}
        np.testing.assert_array_equal(record.vector, vector[0])

    def test_same_id_twice_in_one_batch(self, bench: Bench, engine: Engine) -> None:
        name = bench.name()
        engine.create(name, SPEC, {})
        id = point_id("twin")
        engine.upsert(name, PointBatch([id, id], unit_vectors(2, 1), [{"turn": 1}, {"turn": 2}]))
        assert engine.count(name) == 1
        assert engine.retrieve(name, [id])[0].payload == {"turn": 2}

    def test_empty_batch(self, engine: Engine, building: str) -> None:
        engine.upsert(building, PointBatch([], np.empty((0, DIMENSION), np.float32), []))
        assert engine.count(building) == 4

    def test_wrong_dimension(self, engine: Engine, building: str) -> None:
        batch = PointBatch([point_id("x")], unit_vectors(1, 1, dimension=DIMENSION + 1), [{}])
        with pytest.raises(VectorStoreError, match=str(DIMENSION)) as caught:
            engine.upsert(building, batch)
        assert is_one_line(caught.value)
        assert engine.count(building) == 4

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_vector_that_is_not_finite(self, engine: Engine, building: str, value: float) -> None:
        vectors = unit_vectors(2, 1)
        vectors[1, 3] = value
        with pytest.raises(VectorStoreError, match="not finite"):
            engine.upsert(building, PointBatch([point_id("a"), point_id("b")], vectors, [{}, {}]))
        assert engine.count(building) == 4

    def test_id_that_is_no_uuid(self, engine: Engine, building: str) -> None:
        with pytest.raises(VectorStoreError, match="seven") as caught:
            engine.upsert(building, PointBatch(["seven"], unit_vectors(1, 1), [{}]))
        assert is_one_line(caught.value)

    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param({}, id="empty"),
            pytest.param({"none": None, "nested": [[1, [2, None]], {"a": {"b": [True, 0.5]}}]}, id="nested"),
            pytest.param({"emoji": "👩‍👩‍👧 ✅", "rtl": "שלום", "zero": "a\u0000b", "quote": "\"'\\\n\t"}, id="unicode"),
            pytest.param({"schlüssel mit leer": 1, "日本": 2, "a.b": 3, "": 4}, id="odd keys"),
            pytest.param({"long": "ß" * 100_000}, id="long"),
            pytest.param({"big": 2**53 + 1, "negative": -1, "small": 1e-300, "many": list(range(5_000))}, id="numbers"),
            pytest.param({"site": 5, "search_volume": "many", "category_ids": {"a": 1}}, id="not what the index wants"),
        ],
    )
    def test_payload_comes_back_as_it_went(self, bench: Bench, engine: Engine, payload: Payload) -> None:
        name = bench.name()
        engine.create(name, SPEC, {})
        id, vector = point_id("odd"), unit_vectors(1, 1)
        engine.upsert(name, PointBatch([id], vector, [payload]))
        assert engine.retrieve(name, [id])[0].payload == payload
        engine.finish(name)
        assert engine.query(name, vector[0], 1)[0].payload == payload
        assert next(engine.scroll(name)).payload == payload

    def test_delete(self, engine: Engine, building: str) -> None:
        gone = [point_id(1), point_id(3)]
        engine.delete(building, gone)
        engine.delete(building, [*gone, point_id("never there")])
        assert set(by_id(engine.scroll(building))) == {point_id(0), point_id(2)}

    def test_no_ids_mean_no_points(self, engine: Engine, building: str) -> None:
        engine.delete(building, [])
        engine.set_payload(building, [], {"changed": True})
        assert engine.count(building) == 4
        assert all("changed" not in record.payload for record in engine.scroll(building))

    def test_set_payload_leaves_the_rest_alone(self, engine: Engine, building: str) -> None:
        before = by_id(engine.scroll(building, with_vectors=True))
        engine.set_payload(building, [point_id(0), point_id(2)], {"site": "de", "new": [1, None]})
        for id, record in by_id(engine.scroll(building, with_vectors=True)).items():
            changed = {"site": "de", "new": [1, None]} if id in (point_id(0), point_id(2)) else {}
            assert record.payload == before[id].payload | changed
            np.testing.assert_array_equal(record.vector, before[id].vector)
        assert engine.count(building, Filter((Equals("site", "de"),))) == 2

    def test_set_payload_ignores_ids_that_are_not_there(self, engine: Engine, building: str) -> None:
        engine.set_payload(building, [point_id("never there"), point_id(1)], {"new": 1})
        assert [record.id for record in engine.scroll(building) if "new" in record.payload] == [point_id(1)]
        assert engine.count(building) == 4


class TestFinish:
    def test_makes_ready_and_keeps_all(self, engine: Engine, building: str) -> None:
        engine.finish(building)
        info = engine.info(building)
        assert (info.state, info.points, info.metadata) == ("ready", 4, {})

    def test_again_does_nothing(self, engine: Engine, ready: str) -> None:
        engine.finish(ready)
        assert engine.info(ready).state == "ready"

    def test_empty_collection(self, bench: Bench, engine: Engine) -> None:
        name = bench.name()
        engine.create(name, SPEC, {"kept": [1]})
        engine.finish(name)
        assert engine.info(name).state == "ready"
        assert engine.info(name).metadata == {"kept": [1]}
        assert engine.query(name, unit_vectors(1, 1)[0], 5) == []

    def test_writing_afterwards(self, engine: Engine, ready: str) -> None:
        writes: list[Callable[[], None]] = [
            lambda: engine.upsert(ready, points(6)),
            lambda: engine.delete(ready, [point_id(0)]),
            lambda: engine.set_payload(ready, [point_id(1)], {"new": 1}),
        ]
        if not engine.changes_in_place:
            for write in writes:
                with pytest.raises(CollectionStateError, match=ready):
                    write()
            assert engine.count(ready) == 4
            return
        for write in writes:
            write()
        assert engine.count(ready) == 5
        assert engine.retrieve(ready, [point_id(1)])[0].payload["new"] == 1

    def test_others_see_it(self, bench: Bench, ready: str) -> None:
        if bench.open_another is None:
            pytest.skip("nobody else can open the client's local mode")
        other = bench.open_another()
        try:
            assert other.info(ready).state == "ready"
            assert other.count(ready) == 4
            assert ready in other.collections()
        finally:
            other.close()


class TestSetMetadata:
    BEFORE: Mapping[str, Any] = {"student": "v1", "counts": {"rows": 4, "none": None}, "größe": [1, "é"], "old": 1}
    CHANGES: Mapping[str, Any] = {"counts": {"rows": [None, 5]}, "new": {"flag": False}, "old": None, "never": None}
    AFTER: Mapping[str, Any] = {
        "student": "v1",
        "counts": {"rows": [None, 5]},
        "größe": [1, "é"],
        "new": {"flag": False},
    }

    def test_while_building_and_when_ready(self, bench: Bench, engine: Engine) -> None:
        name = bench.name()
        engine.create(name, SPEC, self.BEFORE)
        engine.upsert(name, points(4))
        engine.set_metadata(name, self.CHANGES)
        assert (engine.info(name).metadata, engine.info(name).state) == (self.AFTER, "building")
        engine.finish(name)
        assert (engine.info(name).metadata, engine.info(name).state) == (self.AFTER, "ready")
        engine.set_metadata(name, {"student": "v2", "new": None})
        info = engine.info(name)
        assert info.metadata == {"student": "v2", "counts": {"rows": [None, 5]}, "größe": [1, "é"]}
        assert (info.state, info.points, engine.count(name)) == ("ready", 4, 4)
        engine.finish(name)
        assert engine.info(name) == info

    def test_where_there_is_none(self, engine: Engine, ready: str) -> None:
        engine.set_metadata(ready, {})
        engine.set_metadata(ready, {"a": None})
        assert engine.info(ready).metadata == {}
        engine.set_metadata(ready, {"a": 1})
        engine.set_metadata(ready, {})
        assert engine.info(ready).metadata == {"a": 1}

    def test_what_was_read_before_stays(self, engine: Engine, ready: str) -> None:
        engine.set_metadata(ready, {"a": 1})
        before = engine.info(ready).metadata
        engine.set_metadata(ready, {"a": 2})
        assert (before, engine.info(ready).metadata) == ({"a": 1}, {"a": 2})

    def test_alias_is_no_collection(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        with pytest.raises(CollectionNotFoundError, match=alias):
            engine.set_metadata(alias, {"a": 1})
        assert engine.info(ready).metadata == {}

    def test_others_see_it(self, bench: Bench, ready: str) -> None:
        if bench.open_another is None:
            pytest.skip("nobody else can open the client's local mode")
        other = bench.open_another()
        try:
            assert other.info(ready).metadata == {}
            bench.engine.set_metadata(ready, {"a": 1})
            other.set_metadata(ready, {"b": 2})
            assert bench.engine.info(ready).metadata == other.info(ready).metadata == {"a": 1, "b": 2}
        finally:
            other.close()


class TestCopy:
    @pytest.fixture
    def engine(self, bench: Bench) -> Engine:
        if bench.engine.changes_in_place:
            pytest.skip("what changes in place is not copied")
        return bench.engine

    def test_changed_in_place_instead(self, bench: Bench, ready: str) -> None:
        if not bench.engine.changes_in_place:
            pytest.skip("copies")
        target = bench.name()
        for take_over in (bench.engine.copy, bench.engine.duplicate):
            with pytest.raises(VectorStoreError, match="changes collections in place") as caught:
                take_over(ready, target, {})
            assert is_one_line(caught.value)
        assert target not in bench.engine.collections()

    def test_has_all_but_the_metadata(self, bench: Bench, engine: Engine, stored: str, corpus: Corpus) -> None:
        target = bench.name()
        engine.copy(stored, target, {"copy": True})
        info = engine.info(target)
        assert (info.name, info.state, info.metadata) == (target, "building", {"copy": True})
        assert (info.points, info.dimension) == (len(corpus.ids), DIMENSION)
        assert info.payload_indexes == SPEC.payload_indexes
        engine.finish(target)
        assert all(map(same, engine.scroll(target, with_vectors=True), engine.scroll(stored, with_vectors=True)))
        queries, filters = unit_vectors(len(SHAPES), seed=24), [shape.filter for shape in SHAPES.values()]
        assert engine.query_batch(target, queries, 10, filters, EXACT) == engine.query_batch(
            stored, queries, 10, filters, EXACT
        )
        assert (engine.info(target).state, engine.info(target).metadata) == ("ready", {"copy": True})

    def test_changes_stay_in_the_copy(self, bench: Bench, engine: Engine, stored: str, corpus: Corpus) -> None:
        target = bench.name()
        queries = unit_vectors(20, seed=25)
        before = list(engine.scroll(stored, with_vectors=True))
        answers = engine.query_batch(stored, queries, 10)
        engine.copy(stored, target, {})
        gone, kept = corpus.ids[:30], corpus.ids[30:60]
        changed = PointBatch(kept, unit_vectors(30, seed=26), [{"site": "at", "search_volume": 7}] * 30)
        new = PointBatch([point_id(f"new {row}") for row in range(30)], unit_vectors(30, 27), [{"site": "ch"}] * 30)
        engine.delete(target, gone)
        engine.upsert(target, changed)
        engine.upsert(target, new)
        engine.set_payload(target, corpus.ids[60:90], {"bid": 7.5})
        for _ in ("building", "ready"):
            assert engine.count(target) == len(corpus.ids)
            assert engine.retrieve(target, gone) == []
            assert {hit.id for hit in engine.query(target, changed.vectors[0], 30, site("at"), EXACT)} == set(kept)
            assert engine.query(target, new.vectors[3], 1)[0].id == new.ids[3]
            assert engine.count(target, Filter((Range("bid", gte=7),))) == 30
            [record] = engine.retrieve(target, changed.ids[2:3], with_vectors=True)
            assert record.payload == {"site": "at", "search_volume": 7}
            np.testing.assert_array_equal(record.vector, changed.vectors[2])
            engine.finish(target)
        assert all(map(same, before, engine.scroll(stored, with_vectors=True)))
        assert engine.query_batch(stored, queries, 10) == answers
        with pytest.raises(CollectionStateError):
            engine.upsert(stored, new)

    def test_a_duplicate_is_ready_and_stands_on_its_own(self, bench: Bench, engine: Engine, ready: str) -> None:
        first, second = bench.name(), bench.name()
        before = list(engine.scroll(ready, with_vectors=True))
        engine.duplicate(ready, first, {"turn": 1})
        engine.duplicate(first, second, {"turn": 2})
        for name, turn in ((first, 1), (second, 2)):
            info = engine.info(name)
            assert (info.name, info.state, info.points, info.metadata) == (name, "ready", 4, {"turn": turn})
            with pytest.raises(CollectionStateError):
                engine.upsert(name, points(6))
        engine.finish(first)
        engine.drop(ready)
        engine.drop(first)
        assert all(map(same, before, engine.scroll(second, with_vectors=True)))
        third = bench.name()
        engine.copy(second, third, {})
        engine.delete(third, [point_id(0)])
        engine.finish(third)
        assert (engine.count(third), engine.count(second)) == (3, 4)

    def test_copy_of_a_copy_outlives_both(self, bench: Bench, engine: Engine, ready: str) -> None:
        first, second = bench.name(), bench.name()
        engine.copy(ready, first, {"turn": 1})
        engine.upsert(first, points(6))
        engine.finish(first)
        engine.copy(first, second, {"turn": 2})
        engine.delete(second, [point_id(0)])
        engine.drop(ready)
        engine.drop(first)
        engine.finish(second)
        assert (engine.count(second), engine.info(second).metadata) == (5, {"turn": 2})

    def test_of_an_alias(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias, target = bench.name("alias"), bench.name()
        engine.swap_alias(alias, ready, None)
        engine.copy(alias, target, {})
        assert (engine.count(target), engine.info(target).name) == (4, target)

    def test_source_that_builds(self, bench: Bench, engine: Engine, building: str) -> None:
        target = bench.name()
        with pytest.raises(CollectionStateError, match=building) as caught:
            engine.copy(building, target, {})
        assert is_one_line(caught.value)
        assert target not in engine.collections()

    def test_target_that_exists(self, bench: Bench, engine: Engine, ready: str, stored: str) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        for target in (ready, stored, alias):
            with pytest.raises(CollectionExistsError, match=target) as caught:
                engine.copy(ready, target, {"a": 1})
            assert is_one_line(caught.value)
        assert engine.count(stored) > 4
        assert engine.info(alias).metadata == {}

    def test_source_that_is_not_there(self, bench: Bench, engine: Engine) -> None:
        target = bench.name()
        with pytest.raises(CollectionNotFoundError, match="never-there"):
            engine.copy("never-there", target, {})
        assert target not in engine.collections()


def site(value: str) -> Filter:
    return Filter((Equals("site", value),))


def same(one: Record, other: Record) -> bool:
    assert one.vector is not None
    assert other.vector is not None
    return (one.id, one.payload) == (other.id, other.payload) and np.array_equal(one.vector, other.vector)


class TestQuery:
    @shapes
    def test_exact_is_brute_force(self, engine: Engine, stored: str, corpus: Corpus, shape: Shape) -> None:
        for query in unit_vectors(5, seed=21):
            hits = engine.query(stored, query, 10, shape.filter, EXACT)
            best = corpus.best(query, 10, shape.passes)
            np.testing.assert_allclose([hit.score for hit in hits], list(best.values()), atol=1e-5)
            assert [hit.id for hit in hits] == list(best)
            for hit in hits:
                assert hit.payload == corpus.payloads[corpus.ids.index(hit.id)]

    @shapes
    def test_graph_finds_most(self, bench: Bench, engine: Engine, stored: str, corpus: Corpus, shape: Shape) -> None:
        if bench.kind == "local":
            pytest.skip("the client's local mode has no graph; it compares with all points")
        queries = unit_vectors(30, seed=22)
        lists = engine.query_batch(stored, queries, 10, [shape.filter] * len(queries))
        expected = [corpus.best(query, 10, shape.passes) for query in queries]
        for hits, best in zip(lists, expected, strict=True):
            assert all(shape.passes(hit.payload) for hit in hits)
            assert len(hits) == len(best)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        hit_count = sum(len({hit.id for hit in hits} & set(best)) for hits, best in zip(lists, expected, strict=True))
        assert hit_count >= 0.9 * sum(len(best) for best in expected)

    def test_acorn_finds_what_the_graph_loses_under_two_conditions(
        self, bench: Bench, engine: Engine, stored: str
    ) -> None:
        if bench.kind == "local":
            pytest.skip("the client's local mode has no graph; it compares with all points")
        queries = unit_vectors(60, seed=22)
        filters = [Filter((Equals("codes", 3), Range("bid", gte=1.4)))] * len(queries)
        exact = engine.query_batch(stored, queries, 10, filters, EXACT)

        def recall(params: SearchParams) -> float:
            lists = engine.query_batch(stored, queries, 10, filters, params)
            same = [
                len({hit.id for hit in hits} & {hit.id for hit in best})
                for hits, best in zip(lists, exact, strict=True)
            ]
            return sum(same) / sum(map(len, exact))

        assert recall(SearchParams(ef=16, acorn=True)) > 0.98
        if bench.kind in ("front", "grpc"):  # elsewhere so few points are compared one by one
            assert recall(SearchParams(ef=16)) < 0.9

    def test_batch_is_the_single_queries(self, engine: Engine, stored: str) -> None:
        queries = unit_vectors(len(SHAPES), seed=23)
        filters: list[Filter | None] = [shape.filter for shape in SHAPES.values()]
        filters[0] = None
        together = engine.query_batch(stored, queries, 7, filters, EXACT)
        alone = [engine.query(stored, query, 7, filter, EXACT) for query, filter in zip(queries, filters, strict=True)]
        assert [[hit.id for hit in hits] for hits in together] == [[hit.id for hit in hits] for hits in alone]
        assert len({hit.id for hits in together for hit in hits}) > 7

    def test_batch_without_filters(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        lists = engine.query_batch(stored, corpus.vectors[:3], 1)
        assert [hits[0].id for hits in lists] == corpus.ids[:3]

    def test_empty_batch(self, engine: Engine, stored: str) -> None:
        assert engine.query_batch(stored, np.empty((0, DIMENSION), np.float32), 5) == []

    def test_as_many_filters_as_queries(self, engine: Engine, stored: str) -> None:
        with pytest.raises(ValueError, match=r"shorter|longer"):
            engine.query_batch(stored, unit_vectors(2, 1), 5, [None])

    def test_limit_beyond_the_collection(self, engine: Engine, building: str) -> None:
        hits = engine.query(building, unit_vectors(1, 1)[0], 100, None, EXACT)
        assert {hit.id for hit in hits} == {point_id(number) for number in range(4)}

    def test_wrong_dimension(self, engine: Engine, stored: str) -> None:
        with pytest.raises(VectorStoreError, match=str(DIMENSION)) as caught:
            engine.query(stored, unit_vectors(1, 1, dimension=DIMENSION - 1)[0], 5)
        assert is_one_line(caught.value)

    def test_query_that_is_not_finite(self, engine: Engine, stored: str) -> None:
        with pytest.raises(VectorStoreError, match="not finite"):
            engine.query(stored, np.full(DIMENSION, np.nan, np.float32), 5)


class TestRead:
    @shapes
    def test_count(self, engine: Engine, stored: str, corpus: Corpus, shape: Shape) -> None:
        assert engine.count(stored, shape.filter) == len(corpus.passing(shape.passes))

    def test_count_of_all(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        assert engine.count(stored) == engine.info(stored).points == len(corpus.ids)

    def test_scroll_meets_every_point_once_in_order(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        records = list(engine.scroll(stored, with_vectors=True))
        assert [record.id for record in records] == sorted(corpus.ids)
        rows = {id: row for row, id in enumerate(corpus.ids)}
        for record in records:
            np.testing.assert_array_equal(record.vector, corpus.vectors[rows[record.id]])
            assert record.payload == corpus.payloads[rows[record.id]]

    @shapes
    def test_scroll_filtered(self, engine: Engine, stored: str, corpus: Corpus, shape: Shape) -> None:
        records = list(engine.scroll(stored, shape.filter))
        assert [record.id for record in records] == sorted(corpus.passing(shape.passes))
        assert all(record.vector is None for record in records)

    def test_retrieve_in_the_order_asked(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        asked = [corpus.ids[7], point_id("never there"), corpus.ids[3], corpus.ids[2_000]]
        records = engine.retrieve(stored, asked, with_vectors=True)
        assert [record.id for record in records] == [asked[0], asked[2], asked[3]]
        np.testing.assert_array_equal(records[1].vector, corpus.vectors[3])
        assert engine.retrieve(stored, asked)[0].vector is None
        assert engine.retrieve(stored, []) == []

    def test_retrieve_more_than_a_page(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        asked = corpus.ids[::-1][:2_500]
        assert [record.id for record in engine.retrieve(stored, asked)] == asked

    def test_while_building(self, engine: Engine, building: str) -> None:
        assert engine.count(building, Filter((Range("search_volume", gte=2),))) == 2
        assert engine.query(building, points(4).vectors[2], 1)[0].id == point_id(2)
        assert len(engine.retrieve(building, [point_id(1)])) == 1


class TestRelease:
    def test_it_opens_again_when_asked(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        expected = engine.query(stored, corpus.vectors[5], 3)
        engine.release(stored)
        engine.release(stored)
        assert engine.query(stored, corpus.vectors[5], 3) == expected

    def test_under_queries_of_other_threads(self, engine: Engine, stored: str, corpus: Corpus) -> None:
        expected = [hit.id for hit in engine.query(stored, corpus.vectors[5], 3)]
        ended = threading.Event()
        answers = [0] * 4

        def ask(reader: int) -> None:
            while not ended.is_set():
                assert [hit.id for hit in engine.query(stored, corpus.vectors[5], 3)] == expected
                answers[reader] += 1

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(ask, reader) for reader in range(4)]
            released = 0
            # On a busy machine a reader may come late.
            while (released < 20 or not all(answers)) and not any(reader.done() for reader in readers):
                engine.release(stored)
                released += 1
                time.sleep(0.01)
            ended.set()
            for reader in readers:
                reader.result()

    def test_of_what_is_not_open(self, engine: Engine, building: str) -> None:
        engine.release("never-there")
        engine.release(building)
        engine.upsert(building, points(6))
        assert engine.count(building) == 6


class TestDrop:
    def test_drop(self, bench: Bench, engine: Engine, ready: str, building: str) -> None:
        other = bench.name()
        engine.create(other, SPEC, {})
        engine.drop(other)
        assert other not in engine.collections()
        with pytest.raises(CollectionNotFoundError):
            engine.info(other)
        engine.create(other, SPEC, {})
        assert engine.count(other) == 0

    def test_refused_while_an_alias_names_it(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        with pytest.raises(CollectionStateError, match=alias) as caught:
            engine.drop(ready)
        assert is_one_line(caught.value)
        assert engine.count(alias) == 4

    def test_alias_is_no_collection(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        with pytest.raises(CollectionNotFoundError, match=alias):
            engine.drop(alias)
        assert engine.aliases()[alias] == ready


class TestAlias:
    def test_every_read_follows_it(self, bench: Bench, engine: Engine, stored: str, corpus: Corpus) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, stored, None)
        assert engine.aliases()[alias] == stored
        assert alias not in engine.collections()
        assert engine.count(alias) == len(corpus.ids)
        assert engine.info(alias) == engine.info(stored)
        assert engine.query(alias, corpus.vectors[5], 1)[0].id == corpus.ids[5]
        assert engine.query_batch(alias, corpus.vectors[5:6], 1)[0][0].id == corpus.ids[5]
        assert engine.retrieve(alias, corpus.ids[:1])[0].id == corpus.ids[0]
        assert next(engine.scroll(alias)).id == min(corpus.ids)

    def test_swap_there_and_back(self, bench: Bench, engine: Engine, ready: str, stored: str) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        engine.swap_alias(alias, stored, ready)
        assert engine.aliases()[alias] == stored
        assert engine.info(alias).name == stored
        engine.swap_alias(alias, ready, stored)
        assert engine.count(alias) == 4
        engine.swap_alias(alias, ready, ready)
        assert engine.aliases()[alias] == ready

    @pytest.mark.parametrize("expected", ["other", None])
    def test_changed_meanwhile(
        self, bench: Bench, engine: Engine, ready: str, stored: str, expected: str | None
    ) -> None:
        alias = bench.name("alias")
        engine.swap_alias(alias, ready, None)
        with pytest.raises(AliasChangedError, match=ready) as caught:
            engine.swap_alias(alias, stored, expected)
        assert is_one_line(caught.value)
        assert engine.aliases()[alias] == ready

    def test_expected_but_gone(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias = bench.name("alias")
        with pytest.raises(AliasChangedError):
            engine.swap_alias(alias, ready, ready)
        assert alias not in engine.aliases()

    def test_target_that_builds(self, bench: Bench, engine: Engine, building: str) -> None:
        alias = bench.name("alias")
        with pytest.raises(CollectionStateError, match=building):
            engine.swap_alias(alias, building, None)
        assert alias not in engine.aliases()

    def test_target_that_does_not_exist(self, bench: Bench, engine: Engine, ready: str) -> None:
        alias, second = bench.name("alias"), bench.name("alias")
        with pytest.raises(CollectionNotFoundError):
            engine.swap_alias(alias, "never-there", None)
        engine.swap_alias(alias, ready, None)
        with pytest.raises(CollectionNotFoundError, match=alias):
            engine.swap_alias(second, alias, None)

    def test_name_of_a_collection(self, engine: Engine, ready: str, building: str, stored: str) -> None:
        with pytest.raises(CollectionExistsError, match=stored):
            engine.swap_alias(stored, ready, None)
        assert engine.count(stored) > 4


MISSING: dict[str, Callable[[Engine, str], Any]] = {
    "upsert": lambda engine, name: engine.upsert(name, points(1)),
    "delete": lambda engine, name: engine.delete(name, [point_id(1)]),
    "set_payload": lambda engine, name: engine.set_payload(name, [point_id(1)], {"a": 1}),
    "set_metadata": lambda engine, name: engine.set_metadata(name, {}),
    "finish": lambda engine, name: engine.finish(name),
    "query": lambda engine, name: engine.query(name, unit_vectors(1, 1)[0], 1),
    "query_batch": lambda engine, name: engine.query_batch(name, unit_vectors(2, 1), 1),
    "count": lambda engine, name: engine.count(name),
    "scroll": lambda engine, name: next(engine.scroll(name)),
    "retrieve": lambda engine, name: engine.retrieve(name, [point_id(1)]),
    "info": lambda engine, name: engine.info(name),
    "drop": lambda engine, name: engine.drop(name),
}


@pytest.mark.parametrize("operation", MISSING.values(), ids=list(MISSING))
def test_collection_that_is_not_there(engine: Engine, operation: Callable[[Engine, str], Any]) -> None:
    with pytest.raises(CollectionNotFoundError, match="never-there") as caught:
        operation(engine, "never-there")
    assert is_one_line(caught.value)


def test_closing_twice(bench: Bench) -> None:
    if bench.open_another is None:
        pytest.skip("the client's local mode is shared by all tests")
    other = bench.open_another()
    other.collections()
    other.close()
    other.close()
