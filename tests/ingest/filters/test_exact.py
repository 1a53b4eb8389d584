"""Exact search of many queries under many filters finds what each query finds alone."""

from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from keydistill.ingest.filters import ExactSearch, K, by_filter, passes, recalls
from keydistill.vectorstore import (
    AnyOf,
    Condition,
    Engine,
    Equals,
    Filter,
    Hit,
    Range,
    SearchParams,
    Vectors,
    keyphrase_filter,
)
from keydistill.vectorstore.edge import EmbeddedEngine
from tests.support.corpus import SPEC, Corpus, make_corpus, unit_vectors

EXACT = SearchParams(exact=True)
CONDITIONS: list[Condition] = [
    Equals("site", "de"),
    Equals("category_ids", "root 1"),
    Equals("active", True),
    Equals("codes", 1),
    Equals("codes", True),
    Equals("nothing", 1),
    AnyOf("codes", (3, 105)),
    AnyOf("site", ("de", "fr")),
    Range("search_volume", gte=500),
    Range("search_volume", gt=100, lt=200),
    Range("bid", lte=1.0),
    Range("active", gte=0),
    Range("codes", gte=100),
]
FILTERS = [
    None,
    keyphrase_filter(site="us"),
    keyphrase_filter(category="root 2"),
    keyphrase_filter(category="root 2 > leaf 7", min_search_volume=990),
    keyphrase_filter(min_search_volume=300, site="de"),
]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(600)


@pytest.fixture(scope="module")
def engine(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(tmp_path_factory.mktemp("exact")) as engine:
        engine.create("c", SPEC, {})
        for batch in corpus.batches():
            engine.upsert("c", batch)
        engine.finish("c")
        yield engine


class Asked:
    """An engine that keeps what it was asked."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.batches = engine, list[list[Filter | None]]()

    def query_batch(
        self, name: str, vectors: Vectors, limit: int, filters: Sequence[Filter | None], params: SearchParams
    ) -> list[list[Hit]]:
        self.batches.append(list(filters))
        return self.engine.query_batch(name, vectors, limit, filters, params)


def test_lists_are_those_of_single_queries(engine: EmbeddedEngine) -> None:
    vectors = unit_vectors(30, seed=5)
    asked = Asked(engine)
    search = ExactSearch(cast(Engine, asked), "c", vectors)
    for filter in FILTERS:
        lists = search.lists(range(30), [filter] * 30)
        alone = [engine.query("c", vector, K, filter, EXACT) for vector in vectors]
        # Of equal scores any is right.
        assert scores(lists) == scores(alone)
        approximate = engine.query_batch("c", vectors, K, [filter] * 30)
        assert recalls(lists, approximate).tolist() == recalls(alone, approximate).tolist()
    # Two of three points are of the site "us": what was found without a filter holds all ten.
    assert [len(batch) for batch in asked.batches if batch[0] == FILTERS[1]] == []
    mixed = [FILTERS[row % len(FILTERS)] for row in range(30)]
    lists = ExactSearch(engine, "c", vectors).lists(range(30), mixed)
    alone = [engine.query("c", vector, K, filter, EXACT) for vector, filter in zip(vectors, mixed, strict=True)]
    assert scores(lists) == scores(alone)


def scores(lists: Sequence[Sequence[Hit]]) -> list[list[float]]:
    return [[hit.score for hit in hits] for hits in lists]


def test_queries_of_one_filter_are_asked_together() -> None:
    filters = [FILTERS[number] for number in (1, 0, 1, 2, 0, 1)]
    batches = []

    def ask(places: list[int]) -> list[int]:
        batches.append(places)
        return places

    assert by_filter(filters, ask, 4) == list(range(6))
    assert batches == [[0, 2, 5, 1], [4, 3]]
    assert by_filter([], ask, 4) == []


@pytest.mark.parametrize("condition", CONDITIONS, ids=repr)
def test_a_payload_passes_where_the_engine_says_so(
    engine: EmbeddedEngine, corpus: Corpus, condition: Condition
) -> None:
    filter = Filter((condition,))
    expected = {record.id for record in engine.scroll("c", filter)}
    assert corpus.passing(lambda payload: passes(payload, filter)) == expected
    assert passes({}, None)
