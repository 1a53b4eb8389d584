"""A server that others use too, and that has limits: strict mode, foreign collections, deletes amid a query."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient, models

from keydistill.errors import AliasOwnedError, CollectionExistsError, CollectionStateError, VectorStoreError
from keydistill.ingest.filters import ExactSearch
from keydistill.vectorstore import AnyOf, CollectionMetadata, Equals, Filter, Range, SearchParams, check_alias_owner
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.corpus import SPEC, make_corpus, point_id, unit_vectors
from tests.support.front_process import FrontProcess

LIMITS: dict[str, Any] = {
    "enabled": True,
    "upsert_max_batchsize": 100,
    "search_max_batchsize": 10,
    "search_max_hnsw_ef": 100,
    "search_max_oversampling": 1.5,
    "max_query_limit": 20,
    "max_timeout": 5,
    "condition_max_size": 8,
    "filter_max_conditions": 3,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
}


@pytest.fixture(scope="module")
def client(front: FrontProcess) -> Iterator[QdrantClient]:
    client = QdrantClient(url=front.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def engine(front: FrontProcess) -> Iterator[ServerEngine]:
    with ServerEngine(front.url) as engine:
        yield engine


@pytest.fixture
def name() -> str:
    return f"shared-{uuid4().hex[:8]}"


def limit(client: QdrantClient, name: str, **limits: Any) -> None:
    client.update_collection(name, strict_mode_config=models.StrictModeConfig(**{"enabled": True, **limits}))


@pytest.fixture(scope="module")
def strict(client: QdrantClient, engine: ServerEngine) -> str:
    """A ready collection of 300 points that was built under limits."""
    name = f"shared-{uuid4().hex[:8]}"
    engine.create(name, SPEC, {})
    limit(client, name, **LIMITS)
    engine._connection.limits.forget(name)
    for batch in make_corpus(300).batches(300):
        engine.upsert(name, batch)
    engine.finish(name)
    return name


class TestStrictMode:
    def test_batches_pages_and_settings_are_cut(self, engine: ServerEngine, strict: str) -> None:
        assert engine.count(strict) == 300
        lists = engine.query_batch(strict, unit_vectors(25, 3), 20, params=SearchParams(ef=128, oversampling=2.0))
        assert [len(hits) for hits in lists] == [20] * 25
        assert len(list(engine.scroll(strict))) == 300
        engine.set_payload(strict, [point_id(number) for number in range(300)], {"site": "xx"})

    @pytest.mark.parametrize(
        ("filter", "limit_name"),
        [
            (Filter((Equals("colour", "red"),)), "unindexed_filtering_retrieve.*'colour'"),
            (Filter((Range("weight", gte=1),)), "unindexed_filtering_retrieve.*'weight'"),
            (Filter((AnyOf("site", tuple(map(str, range(9)))),)), "condition_max_size=8"),
            (Filter(tuple(Equals("site", str(number)) for number in range(4))), "filter_max_conditions=3"),
        ],
    )
    def test_filter_is_refused_by_the_name_of_the_limit(
        self, front: FrontProcess, engine: ServerEngine, strict: str, filter: Filter, limit_name: str
    ) -> None:
        engine.count(strict, Filter((Equals("site", "de"),)))  # reads the limits
        front.forget_requests()
        for ask in (
            lambda: engine.query(strict, unit_vectors(1, 1)[0], 3, filter),
            lambda: engine.count(strict, filter),
            lambda: list(engine.scroll(strict, filter)),
        ):
            with pytest.raises(VectorStoreError, match=limit_name):
                ask()
        # At most the limits are read again: they may have been raised.
        assert {request["method"] for request in front.requests()} <= {"GET"}

    def test_more_results_than_allowed(self, engine: ServerEngine, strict: str) -> None:
        with pytest.raises(VectorStoreError, match="max_query_limit=20"):
            engine.query(strict, unit_vectors(1, 1)[0], 21)

    def test_the_gates_exact_search_asks_for_no_more_than_is_allowed(self, engine: ServerEngine, strict: str) -> None:
        vectors = unit_vectors(6, 5)
        filters = [None, None, None, *[Filter((Equals("site", "de"),))] * 3]
        lists = ExactSearch(engine, strict, vectors).lists(range(6), filters)
        exact = SearchParams(exact=True)
        for vector, filter, hits in zip(vectors, filters, lists, strict=True):
            assert [hit.id for hit in hits] == [hit.id for hit in engine.query(strict, vector, 10, filter, exact)]

    def test_limits_that_come_later_are_obeyed_after_a_refusal_at_the_latest(
        self, client: QdrantClient, engine: ServerEngine, name: str
    ) -> None:
        engine.create(name, SPEC, {})
        limit(client, name, upsert_max_batchsize=10)
        [batch] = make_corpus(50).batches(50)
        engine.upsert(name, batch)
        assert engine.count(name) == 50

    @pytest.mark.parametrize(
        "limits", [{"search_allow_exact": False}, {"max_payload_index_count": 2}, {"max_query_limit": 5}]
    )
    def test_what_no_build_can_obey(self, tmp_path: Path, name: str, limits: dict[str, Any]) -> None:
        [limit_name] = limits
        with FrontProcess(tmp_path, "--strict", json.dumps(limits)) as front:
            with ServerEngine(front.url) as engine:
                with pytest.raises(VectorStoreError, match=f"{limit_name}=.*KEYDISTILL_QDRANT_LIFT_LIMITS"):
                    engine.create(name, SPEC, {})
                assert engine.collections() == []
            with ServerEngine(front.url, lift_limits=True) as engine:
                engine.create(name, SPEC, {})
                engine.upsert(name, next(iter(make_corpus(20).batches(20))))
                engine.finish(name)
                assert len(engine.query(name, unit_vectors(1, 1)[0], 10, params=SearchParams(exact=True))) == 10

    @pytest.mark.parametrize(
        "limits",
        [
            {"max_points_count": 999},
            {"max_collection_vector_size_bytes": 1_000},
            {"max_collection_payload_size_bytes": 49_999},
        ],
    )
    def test_room(self, client: QdrantClient, engine: ServerEngine, name: str, limits: dict[str, Any]) -> None:
        engine.create(name, SPEC, {})
        engine.check_room(name, 1_000, 50_000)
        limit(client, name, **limits)
        with pytest.raises(VectorStoreError, match=next(iter(limits))):
            engine.check_room(name, 1_000, 50_000)


FOREIGN: dict[str, dict[str, Any]] = {
    "named vectors": {"vectors_config": {"title": models.VectorParams(size=4, distance=models.Distance.DOT)}},
    "sparse vectors": {"vectors_config": {}, "sparse_vectors_config": {"words": models.SparseVectorParams()}},
    "no metadata": {"vectors_config": models.VectorParams(size=4, distance=models.Distance.DOT)},
    "metadata like ours": {
        "vectors_config": models.VectorParams(size=4, distance=models.Distance.DOT),
        "metadata": {"run": 5, "rows": "many", "keydistill_spec": "ours"},
    },
}


class TestForeign:
    @pytest.fixture(params=FOREIGN.values(), ids=list(FOREIGN))
    def theirs(self, request: pytest.FixtureRequest, client: QdrantClient, name: str) -> Iterator[str]:
        client.create_collection(name, **request.param)
        yield name
        client.delete_collection(name)

    def test_is_shown_and_not_touched(self, client: QdrantClient, engine: ServerEngine, theirs: str) -> None:
        before = client.get_collection(theirs).config
        info = engine.info(theirs)
        assert (info.state, dict(info.metadata)) == ("foreign", {})
        assert CollectionMetadata.parse(info).run is None
        touches: list[Callable[[], None]] = [
            lambda: engine.set_metadata(theirs, {"a": 1}),
            lambda: engine.finish(theirs),
            lambda: engine.drop(theirs),
            lambda: engine.swap_alias(f"{theirs}-alias", theirs, None),
        ]
        for touch in touches:
            with pytest.raises(CollectionStateError, match="not made by keydistill"):
                touch()
        assert client.get_collection(theirs).config == before

    def test_alias_of_theirs_is_not_taken(self, client: QdrantClient, engine: ServerEngine, theirs: str) -> None:
        naming = models.CreateAlias(collection_name=theirs, alias_name=f"{theirs}-alias")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=naming)])
        with pytest.raises(AliasOwnedError, match="another program"):
            check_alias_owner(engine, f"{theirs}-alias", "us")


class TestOwnership:
    def test_alias_belongs_to_who_built_what_it_names(self, engine: ServerEngine, name: str) -> None:
        check_alias_owner(engine, name, "us")
        engine.create(f"{name}-1", SPEC, {"installation": "us"})
        engine.finish(f"{name}-1")
        engine.swap_alias(name, f"{name}-1", None)
        check_alias_owner(engine, name, "us")
        with pytest.raises(AliasOwnedError, match=r"another installation \(us\).*--take-over"):
            check_alias_owner(engine, name, "them")

    def test_what_no_version_said_belongs_to_everybody(self, engine: ServerEngine, name: str) -> None:
        engine.create(f"{name}-1", SPEC, {"run": "1"})
        engine.finish(f"{name}-1")
        engine.swap_alias(name, f"{name}-1", None)
        check_alias_owner(engine, name, "anybody")

    def test_alias_with_a_collections_name(self, engine: ServerEngine, name: str) -> None:
        engine.create(name, SPEC, {})
        with pytest.raises(CollectionExistsError, match="cannot be an alias too"):
            check_alias_owner(engine, name, "us")


class TestDeletesAmidAQuery:
    def test_answer_is_as_long_as_it_can_be(self, front: FrontProcess, engine: ServerEngine, name: str) -> None:
        engine.create(name, SPEC, {})
        engine.upsert(name, next(iter(make_corpus(40).batches(40))))
        vector = unit_vectors(1, 9)[0]
        best = [hit.id for hit in engine.query(name, vector, 13, params=SearchParams(exact=True))]
        front.delete_amid_query(name, best[:3])
        hits = engine.query(name, vector, 10, params=SearchParams(exact=True))
        assert [hit.id for hit in hits] == best[3:13]


def test_size_on_disk_is_estimated(engine: ServerEngine, name: str) -> None:
    engine.create(name, SPEC, {})
    engine.upsert(name, next(iter(make_corpus(40).batches(40))))
    info = engine.info(name)
    assert info.disk_is_estimated
    assert 40 * 4 * SPEC.dimension < (info.disk_bytes or 0) < 40 * 10_000
