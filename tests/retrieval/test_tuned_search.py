"""Search settings that a collection keeps: read, used per shape of filter, and never in the way."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from keydistill.ingest.filters.shapes import SHAPES, Query
from keydistill.retrieval import Generation, TunedSearch, TunedShape, filter_shape
from keydistill.vectorstore import (
    AnyOf,
    CollectionInfo,
    Engine,
    Equals,
    Filter,
    Hit,
    Range,
    SearchParams,
    Vectors,
    keyphrase_filter,
)
from tests.retrieval.conftest import EXACT, TITLES, World

LEAF = keyphrase_filter(category="Home > Lamps")
SITE = keyphrase_filter(site="us")
TUNED = {
    "no filter": SearchParams(ef=64, oversampling=3.0),
    filter_shape(LEAF): SearchParams(exact=True),
    filter_shape(SITE): SearchParams(ef=32, oversampling=1.0, acorn=True),
}


def tuned(student_version: str, shapes: dict[str, SearchParams] = TUNED) -> TunedSearch:
    measured = {name: TunedShape(params, 0.99, 0.985, 0.4, 1.25, 100, 40) for name, params in shapes.items()}
    return TunedSearch(student_version, 0.98, "2026-11-25T10:00:00+00:00", measured)


def info_of(metadata: dict[str, Any]) -> CollectionInfo:
    return CollectionInfo("c", "ready", 4, 10, {}, metadata)


class Watched:
    """The engine, and the settings of what was asked of it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked: list[tuple[int, SearchParams | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def query_batch(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filters: Sequence[Filter | None] | None = None,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        self.asked.append((len(vectors), params))
        return self.engine.query_batch(name, vectors, limit, filters, params)


@pytest.fixture(scope="module")
def collection(built: World) -> Iterator[str]:
    name = built.build("a")
    version = built.students["a"].version
    built.engine.set_metadata(name, {"search": tuned(version).as_dict()})
    yield name
    built.engine.drop(name)


@pytest.fixture
def watched(world: World, collection: str) -> tuple[Watched, Generation]:
    engine = Watched(world.engine)
    generation = Generation.load(engine, collection, world.loads, untuned=SearchParams(ef=77))
    return engine, generation


@pytest.mark.parametrize(
    ("filter", "shape"),
    [
        (None, "no filter"),
        (Filter(), "no filter"),
        (keyphrase_filter(category="A"), "category_ids level 1"),
        (keyphrase_filter(category="A > B > C"), "category_ids level 3"),
        (keyphrase_filter(category="17"), "category_ids level 1"),
        (Filter((AnyOf("category_ids", ("A", "B")),)), "category_ids any of"),
        (Filter((Range("bid", lt=1),)), "bid range"),
        (Filter((Equals("active", True), Equals("site", "us"))), "active + site"),
    ],
)
def test_the_shape_of_a_filter(filter: Filter | None, shape: str) -> None:
    assert filter_shape(filter) == shape


def test_the_order_of_conditions_makes_no_shape() -> None:
    conditions = keyphrase_filter(category="A > B", site="us", min_search_volume=5).must
    assert len({filter_shape(Filter(tuple(order))) for order in (conditions, conditions[::-1])}) == 1


def test_shapes_of_the_gate_are_told_apart() -> None:
    query = Query("1", "shoes", "us", "A > B", "A")
    assert len({filter_shape(shape.filter(query, 10)) for shape in SHAPES}) == len(SHAPES)


def test_what_is_written_is_read_again() -> None:
    before = tuned("v1")
    values = json.loads(json.dumps(before.as_dict()))
    assert TunedSearch.from_dict(values) == before
    # As gRPC may give numbers back.
    for shape in values["shapes"].values():
        shape.update(ef=float(shape["ef"]), queries=float(shape["queries"]))
    assert TunedSearch.of(info_of({"student_version": "v1", "search": values})) == before


def broken() -> Iterator[object]:
    yield from ("yes", 7, [], {}, {"format": 1}, {"format": 2, "shapes": {}})
    for change in ({"ef": 0}, {"ef": "many"}, {"ef": None}, {"oversampling": 0.5}, {"exact": 1}, {"recall": True}):
        values = tuned("v1").as_dict()
        values["shapes"]["no filter"].update(change)
        yield values
    values = tuned("v1").as_dict()
    del values["shapes"]["no filter"]["acorn"]
    yield values
    yield {**tuned("v1").as_dict(), "shapes": ["no filter"]}
    yield {**tuned("v1").as_dict(), "target": float("1e400")} | {"shapes": None}


@pytest.mark.parametrize("values", list(broken()))
def test_what_cannot_be_read_is_ignored_with_a_warning(values: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert TunedSearch.of(info_of({"student_version": "v1", "search": values})) is None
    (line,) = caplog.messages
    assert "collection c: its tuned search settings are ignored" in line
    assert "keydistill tune --collection c" in line


def test_what_was_measured_with_another_student_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    metadata = {"student_version": "v2", "search": tuned("v1").as_dict()}
    assert TunedSearch.of(info_of(metadata)) is None
    assert "measured with student v1" in caplog.text


def test_a_collection_that_was_not_tuned_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert TunedSearch.of(info_of({"student_version": "v1"})) is None
    assert caplog.messages == []


def test_each_query_is_searched_as_its_shape_asks_for(watched: tuple[Watched, Generation]) -> None:
    engine, generation = watched
    titles = TITLES[:6]
    filters = [None, LEAF, SITE, None, Filter((Equals("brand", "x"),)), LEAF]
    lists = generation.query(generation.embed(titles), 5, filters)
    assert sorted(engine.asked, key=str) == sorted(
        [
            (2, TUNED["no filter"]),
            (2, TUNED[filter_shape(LEAF)]),
            (1, TUNED[filter_shape(SITE)]),
            (1, SearchParams(ef=77)),
        ],
        key=str,
    )
    exact = replace(generation, params=EXACT, tuned={})
    assert lists == exact.query(exact.embed(titles), 5, filters)
    assert len(lists[0]) == 5
    assert lists[1] == []  # nothing here is in a category


@pytest.mark.parametrize("filters", [None, [None] * 3, [None, Filter(), None]])
def test_queries_that_are_alike_are_one_request(
    watched: tuple[Watched, Generation], filters: list[Filter | None] | None
) -> None:
    engine, generation = watched
    generation.recommend(TITLES[:3], 5, filters)
    assert engine.asked == [(3, TUNED["no filter"])]


def test_long_lists_are_searched_no_less_than_before(watched: tuple[Watched, Generation]) -> None:
    engine, generation = watched
    generation.recommend(TITLES[:1], 11)
    generation.recommend(TITLES[:1], 11, [LEAF])
    assert [params for _, params in engine.asked] == [SearchParams(ef=77, oversampling=3.0), SearchParams(exact=True)]


def test_the_caller_overrides_what_was_tuned(
    world: World, collection: str, watched: tuple[Watched, Generation]
) -> None:
    engine, generation = watched
    own = SearchParams(ef=5)
    generation.query(generation.embed(TITLES[:2]), 5, [None, LEAF], params=own)
    Generation.load(engine, collection, world.loads, params=own).recommend(TITLES[:2], 5, [None, LEAF])
    assert engine.asked == [(2, own), (2, own)]


def test_a_filter_too_few_is_refused(watched: tuple[Watched, Generation]) -> None:
    _, generation = watched
    for filters in ([None, LEAF], [LEAF]):
        with pytest.raises(ValueError, match=r"filters|argument"):
            generation.recommend(TITLES[:3], 5, filters)


def test_a_broken_value_does_not_keep_a_collection_from_serving(world: World, caplog: pytest.LogCaptureFixture) -> None:
    name = world.build("a")
    world.engine.set_metadata(name, {"search": {"format": 1, "shapes": {"no filter": {"ef": "all"}}}})
    generation = Generation.load(world.engine, name, world.loads, untuned=EXACT)
    assert (generation.params, generation.tuned) == (EXACT, {})
    assert "ignored" in caplog.text
    assert generation.recommend(TITLES, 5) == world.of(name).recommend(TITLES, 5)
    world.engine.drop(name)


def test_a_live_retriever_takes_new_settings_on_refresh(world: World) -> None:
    name = world.build("a")
    world.swap(name)
    with world.open(poll_seconds=3_600, params=None) as retriever:
        before = retriever.status()
        with retriever.generation() as generation:
            assert generation.tuned == {}
        world.engine.set_metadata(name, {"search": tuned(before.student_version).as_dict()})
        retriever.refresh()
        with retriever.generation() as generation:
            assert generation.tuned == TUNED
        assert retriever.recommend(TITLES[:1], 5).collection == name
        assert (retriever.status().since, retriever.status().changes) == (before.since, before.changes)
        world.engine.set_metadata(name, {"search": None})
        retriever.refresh()
        with retriever.generation() as generation:
            assert generation.tuned == {}
    with world.open(poll_seconds=3_600) as retriever:  # of explicit params
        retriever.refresh()
        with retriever.generation() as generation:
            assert (generation.params, generation.tuned) == (EXACT, {})
