"""How collections are stored: what the engines are asked for, what they keep, and what they cannot do."""

import json
import urllib.request
from typing import Any

import pytest
from qdrant_client import models

from keydistill.errors import SettingsError, VectorStoreError
from keydistill.settings import QUANTIZATIONS, load_settings
from keydistill.settings.storage import STRICT_MODE_LIMITS
from keydistill.vectorstore import CollectionSpec, PointBatch
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.corpus import DIMENSION, point_id, unit_vectors
from tests.support.front_process import FrontProcess
from tests.vectorstore.conftest import Bench

_INDEXES: Any = {"category_ids": "keyword", "site": "keyword", "search_volume": "integer"}
_PLACEMENT: Any = {
    "vectors": "cold",
    "quantized": "cached",
    "graph": "pinned",
    "payload": "cached",
    "indexes": "cold",
    "ids": "cached",
}
_EVERYTHING = CollectionSpec(
    DIMENSION,
    _INDEXES,
    quantization="turbo4",
    tenant="site",
    placement=_PLACEMENT,
    shards=6,
    replicas=2,
    write_consistency=2,
    strict_mode={"max_query_limit": 1_000, "unindexed_filtering_retrieve": False, "search_max_oversampling": 4.0},
)


def points(count: int) -> PointBatch:
    payloads = [{"site": "us" if number % 2 else "de", "search_volume": number} for number in range(count)]
    return PointBatch([point_id(number) for number in range(count)], unit_vectors(count, 1), payloads)


def asked(front: FrontProcess, ending: str) -> list[dict[str, Any]]:
    """Bodies of the PUT requests whose path ends so."""
    with urllib.request.urlopen(f"{front.url}/_front/requests") as answer:
        requests = json.load(answer)["requests"]
    return [each["body"] for each in requests if each["path"].endswith(ending) and "body" in each]


class TestOnEveryEngine:
    @pytest.mark.filterwarnings("ignore:Local mode performs exact")
    @pytest.mark.parametrize("quantization", QUANTIZATIONS)
    def test_every_quantization_finds_the_nearest(self, bench: Bench, quantization: Any) -> None:
        name = bench.name()
        bench.engine.create(name, CollectionSpec(DIMENSION, quantization=quantization), {})
        bench.engine.upsert(name, points(50))
        bench.engine.finish(name)
        assert bench.engine.query(name, points(50).vectors[7], 1)[0].id == point_id(7)
        spec = bench.engine.info(name).spec
        assert spec is not None
        assert spec.quantization == quantization

    def test_placement_and_tenant_are_kept(self, bench: Bench) -> None:
        if bench.kind == "local":
            pytest.skip("the client's local mode places nothing")
        name = bench.name()
        spec = CollectionSpec(DIMENSION, _INDEXES, tenant="site", placement=_PLACEMENT)
        bench.engine.create(name, spec, {})
        bench.engine.upsert(name, points(50))
        bench.engine.finish(name)
        assert bench.engine.info(name).spec == spec
        assert bench.engine.info(name).payload_indexes == _INDEXES
        assert bench.engine.query(name, points(50).vectors[7], 1)[0].id == point_id(7)


class TestServer:
    @pytest.fixture(params=["rest", "grpc"])
    def server(self, request: pytest.FixtureRequest, front: FrontProcess) -> Any:
        if request.param == "rest":
            with ServerEngine(front.url) as engine:
                yield engine
            return
        from tests.support.grpc_front import GrpcFront

        with (
            GrpcFront(front.url) as grpc_front,
            ServerEngine(front.url, protocol="grpc", grpc_port=grpc_front.port) as engine,
        ):
            yield engine

    def test_everything_is_asked_for(self, server: ServerEngine, front: FrontProcess) -> None:
        name = f"everything-{server._connection.speaks_grpc}"
        server.create(name, _EVERYTHING, {})
        body = asked(front, f"/collections/{name}")[0]
        assert body["vectors"] == {"size": DIMENSION, "distance": "Dot", "memory": "cold"}
        assert (body["shard_number"], body["replication_factor"], body["write_consistency_factor"]) == (6, 2, 2)
        assert body["hnsw_config"] == {"m": 0, "ef_construct": 128, "memory": "pinned"}
        assert body["quantization_config"] == {"turbo": {"bits": "bits4", "memory": "cached"}}
        assert (body["payload"], body["id_tracker"]) == ({"memory": "cached"}, {"memory": "cached"})
        assert body["strict_mode_config"] == {
            "enabled": True,
            "max_query_limit": 1_000,
            "unindexed_filtering_retrieve": False,
            "search_max_oversampling": 4.0,
        }
        schemas = {each["field_name"]: each["field_schema"] for each in asked(front, f"/collections/{name}/index")}
        assert schemas == {
            "category_ids": {"type": "keyword", "memory": "cold"},
            "site": {"type": "keyword", "is_tenant": True, "memory": "cold"},
            "search_volume": {"type": "integer", "memory": "cold"},
        }
        assert server.info(name).spec == _EVERYTHING
        assert server.info(name).made == {"shards": 6, "replicas": 2, "write_consistency": 2}

    def test_graph_keeps_its_place_when_the_load_ends(self, server: ServerEngine) -> None:
        name = f"graph-{server._connection.speaks_grpc}"
        server.create(name, CollectionSpec(DIMENSION, placement={"graph": "pinned"}), {})
        server.upsert(name, points(20))
        server.finish(name)
        hnsw = server._connection.describe(name).config.hnsw_config
        assert (hnsw.m, hnsw.memory) == (16, models.Memory.PINNED)

    def test_without_settings_the_server_decides(self, front: FrontProcess) -> None:
        with ServerEngine(front.url) as engine:
            engine.create("plain", CollectionSpec(DIMENSION, _INDEXES), {})
            body = asked(front, "/collections/plain")[0]
            # The quantization that every server knows waits for the end of the load.
            assert set(body) <= {"vectors", "hnsw_config", "metadata"}
            assert {each["field_schema"] for each in asked(front, "/collections/plain/index")} == {"keyword", "integer"}

    def test_server_that_ignores_a_setting_is_refused(self, front: FrontProcess) -> None:
        with ServerEngine(front.url) as engine:
            create = engine._client.create_collection

            def old_server(name: str, **options: Any) -> bool:
                return create(name, **{**options, "id_tracker": None, "payload": None})

            engine._client.create_collection = old_server  # type: ignore[assignment]
            spec = CollectionSpec(DIMENSION, placement={"ids": "cold", "payload": "cached", "graph": "cold"})
            with pytest.raises(VectorStoreError, match=r"did not take placement of payload, placement of ids"):
                engine.create("old", spec, {})
            assert "old" not in engine.collections()

    def test_limits_that_no_build_can_obey_are_refused(self, front: FrontProcess) -> None:
        with ServerEngine(front.url) as engine:
            spec = CollectionSpec(DIMENSION, _INDEXES, strict_mode={"search_allow_exact": False, "max_query_limit": 5})
            reason = engine.cannot_do(spec)["strict_mode"]
            assert "search_allow_exact is false, max_query_limit is 5" in reason
            assert "max_query_limit=16" in reason
            assert engine.cannot_do(_EVERYTHING).keys() == {"replicas", "write_consistency"}

    def test_replicas_need_as_many_nodes(self, lagging: FrontProcess) -> None:
        with ServerEngine(lagging.url) as engine:
            assert engine.cannot_do(_EVERYTHING) == {}
            cannot = engine.cannot_do(CollectionSpec(DIMENSION, replicas=4, write_consistency=2))
            assert cannot.keys() == {"replicas"}
            assert "has 3 nodes" in cannot["replicas"]


class TestEmbedded:
    def test_what_needs_a_server(self, tmp_path: Any) -> None:
        with EmbeddedEngine(tmp_path) as engine:
            cannot = engine.cannot_do(_EVERYTHING)
            assert cannot.keys() == {"shards", "replicas", "write_consistency", "strict_mode"}
            assert all("needs a Qdrant server" in reason for reason in cannot.values())
            assert engine.cannot_do(CollectionSpec(DIMENSION, shards=1, replicas=1, write_consistency=1)) == {}
            assert engine.cannot_do(_EVERYTHING.without(cannot)) == {}

    def test_copy_and_card_keep_it(self, tmp_path: Any) -> None:
        spec = CollectionSpec(DIMENSION, _INDEXES, quantization="binary", tenant="site", placement=_PLACEMENT)
        with EmbeddedEngine(tmp_path) as engine:
            engine.create("a", spec, {})
            engine.upsert("a", points(20))
            engine.finish("a")
            engine.copy("a", "b", {})
            card = json.loads((tmp_path / "collections/b/keydistill/collection.json").read_text())
            assert CollectionSpec.parse(card["spec"]) == spec
            engine.finish("b")
            assert engine.query("b", points(20).vectors[3], 1)[0].id == point_id(3)
            assert engine.info("b").spec == spec


class TestSpec:
    def test_what_is_not_set_is_not_written(self) -> None:
        # So that a version that does not know the later fields reads what this one wrote.
        assert set(CollectionSpec(4).as_dict()) == {
            "dimension",
            "payload_indexes",
            "quantization",
            "hnsw_m",
            "hnsw_ef_construct",
        }
        assert CollectionSpec.parse(_EVERYTHING.as_dict()) == _EVERYTHING

    def test_tenant_is_an_indexed_keyword(self) -> None:
        with pytest.raises(
            VectorStoreError, match=r"'search_volume' is no indexed keyword field; .*category_ids, site"
        ):
            CollectionSpec(4, _INDEXES, tenant="search_volume")

    def test_changes_of_a_rebuild(self) -> None:
        one = CollectionSpec(4, _INDEXES)
        three = CollectionSpec(4, _INDEXES, shards=3, replicas=2, quantization="turbo4", placement={"graph": "cold"})
        assert three.changes_from(one, {"shards": 1, "replicas": 1}) == [
            "quantization int8 -> turbo4",
            "placement default -> graph=cold",
            "shards 1 -> 3",
            "replicas 1 -> 2",
        ]
        assert one.changes_from(three, {"shards": 3})[-1] == "replicas 2 -> default"
        assert CollectionSpec(4, shards=3).changes_from(one, {"shards": 3}) == []
        assert one.changes_from(one, {"shards": 7}) == []


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"write_consistency": 2}, "replicas is unset; set replicas to 2"),
            ({"replicas": 2, "write_consistency": 3}, "replicas is 2; set replicas to 3"),
            ({"placement": {"vectors": "pinned"}}, "pins no vectors"),
            ({"placement": {"graph": "hot"}}, "'placement.graph"),
            ({"placement": {"quantized": "cold"}, "quantization": "none"}, "quantization is none"),
            ({"strict_mode": {"max_points": 5}}, "no limit 'max_points'"),
            ({"strict_mode": {"max_query_limit": 0}}, "expected a whole number above 0"),
            ({"strict_mode": {"max_query_limit": True}}, "expected a whole number above 0"),
            ({"strict_mode": {"search_allow_exact": 1}}, "expected true or false"),
            ({"shards": 0}, "'shards'"),
            ({"quantization": "int4"}, "'quantization'"),
        ],
    )
    def test_impossible_settings_are_refused(self, options: dict[str, Any], problem: str) -> None:
        with pytest.raises(SettingsError, match=problem) as caught:
            load_settings(**options)
        assert "\n" not in str(caught.value)

    def test_limits_keep_their_types(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEYDISTILL_STRICT_MODE", '{"search_allow_exact": true, "max_query_limit": 100}')
        limits = load_settings().strict_mode
        assert limits == {"search_allow_exact": True, "max_query_limit": 100}
        assert limits["search_allow_exact"] is True
        assert type(limits["max_query_limit"]) is int

    def test_limits_are_those_of_the_client(self) -> None:
        assert set(STRICT_MODE_LIMITS) <= set(models.StrictModeConfig.model_fields)
