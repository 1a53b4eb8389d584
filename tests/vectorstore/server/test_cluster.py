"""Several nodes behind a balancer, of which each learns a moment late of what the others changed."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient

from keydistill.errors import CollectionNotFoundError, EngineUnavailableError, VectorStoreError
from keydistill.vectorstore.server.connection import limited_to
from keydistill.vectorstore.server.consensus import Consensus, nodes_of
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.corpus import SPEC
from tests.support.front_process import FrontProcess


@pytest.fixture
def engine(lagging: FrontProcess) -> Iterator[ServerEngine]:
    with ServerEngine(lagging.url) as engine:
        yield engine


@pytest.fixture
def ask(lagging: FrontProcess) -> Iterator[QdrantClient]:
    """The client itself, which believes whichever node answers."""
    client = QdrantClient(url=lagging.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    return f"cluster-{uuid4().hex[:8]}"


def ready(engine: ServerEngine, name: str) -> str:
    engine.create(name, SPEC, {})
    engine.finish(name)
    return name


class TestStandIn:
    def test_nodes_differ_for_a_moment(self, ask: QdrantClient, engine: ServerEngine, name: str) -> None:
        ready(engine, name)
        ask.update_collection(name, metadata={"colour": "red"})
        looks = [(ask.get_collection(name).config.metadata or {}).get("colour") for _ in range(3)]
        assert sorted(map(str, looks)) != ["red"] * 3


class TestEveryNodeHasIt:
    """When a change returns, it is what any node says."""

    def everywhere(self, look: Callable[[], object]) -> set[object]:
        return {look() for _ in range(6)}

    def test_metadata(self, ask: QdrantClient, engine: ServerEngine, name: str) -> None:
        ready(engine, name)
        engine.set_metadata(name, {"share": 0.1, "nested": {"a": [1, 2.5]}, "gone": None})
        metadata = self.everywhere(lambda: json.dumps(ask.get_collection(name).config.metadata, sort_keys=True))
        assert len(metadata) == 1
        assert engine.info(name).metadata == {"share": 0.1, "nested": {"a": [1, 2.5]}}

    def test_new_collection_and_its_indexes(self, ask: QdrantClient, engine: ServerEngine, name: str) -> None:
        engine.create(name, SPEC, {})
        fields = self.everywhere(lambda: frozenset(ask.get_collection(name).payload_schema))
        assert fields == {frozenset(SPEC.payload_indexes)}

    def test_alias_and_deletion(self, ask: QdrantClient, engine: ServerEngine, name: str) -> None:
        ready(engine, name)
        alias = f"{name}-alias"
        engine.swap_alias(alias, name, None)
        named = self.everywhere(
            lambda: {each.alias_name: each.collection_name for each in ask.get_aliases().aliases}.get(alias)
        )
        assert named == {name}
        other = ready(engine, f"{name}-other")
        engine.swap_alias(alias, other, name)
        engine.drop(name)
        assert self.everywhere(lambda: name in [each.name for each in ask.get_collections().collections]) == {False}


class TestDecisions:
    def test_patient_engine_reads_what_others_just_changed(
        self, ask: QdrantClient, engine: ServerEngine, name: str
    ) -> None:
        ready(engine, name)
        deciding = engine.patient(30, lambda text: None)
        for number in range(3):
            ask.update_collection(name, metadata={"number": number})
            assert deciding.info(name).metadata["number"] == number

    def test_missing_only_where_no_node_knows_it(self, ask: QdrantClient, engine: ServerEngine, name: str) -> None:
        ready(engine, name)
        assert engine.info(name).state == "ready"
        with pytest.raises(CollectionNotFoundError):
            engine.info(f"{name}-nowhere")

    def test_swaps_are_numbered(self, engine: ServerEngine, name: str) -> None:
        first, second, alias = ready(engine, f"{name}-1"), ready(engine, f"{name}-2"), f"{name}-alias"
        engine.swap_alias(alias, first, None)
        engine.swap_alias(alias, second, first)
        assert (engine.went_live(first), engine.went_live(second)) == (1, 2)
        engine.swap_alias(alias, first, second)
        assert engine.went_live(first) == 3
        assert engine.info(first).metadata == {}


def test_server_that_is_alone_is_asked_once(front: FrontProcess, name: str) -> None:
    with ServerEngine(front.url) as engine:
        ready(engine, name)
        engine.swap_alias(f"{name}-alias", name, None)
        assert engine.went_live(name) is None
        front.forget_requests()
        engine.set_metadata(name, {"a": 1})
        assert [request["method"] for request in front.requests()] == ["GET", "GET", "PATCH"]


class TestConsensus:
    """The waiting alone, against scripted answers."""

    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def test_waits_for_several_looks_in_a_row(self) -> None:
        answers = [True, False, True, True, False, *[True] * 6]
        Consensus(lambda: 2).settle("changing", lambda: answers.pop(0))
        assert answers == []

    def test_unknown_number_of_nodes_counts_as_three(self) -> None:
        answers = [True] * 9
        Consensus(lambda: None).settle("changing", answers.pop)
        assert answers == []

    def test_gives_up(self) -> None:
        with pytest.raises(EngineUnavailableError, match="do not say the same after 60 s"):
            Consensus(lambda: 3).settle("changing", lambda: False)
        turns = iter(range(10_000))
        with pytest.raises(EngineUnavailableError, match="do not say the same"):
            Consensus(lambda: 3).steady("reading", lambda: next(turns))

    def test_nodes_of(self) -> None:
        assert nodes_of(SimpleNamespace(status="enabled", peers={"1": {}, "2": {}})) == 2


def token(access: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps({"access": access}).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


class TestLimitedToken:
    @pytest.mark.parametrize("key", [None, "a-plain-key", "a.b.c", token("r"), token("m"), "..", token({})])
    def test_key_to_everything(self, key: str | None) -> None:
        assert limited_to(key) is None

    def test_is_told_why_it_sees_no_alias(self, tmp_path: Path) -> None:
        key = token([{"collection": "keyphrases-1", "access": "rw"}])
        with (
            FrontProcess(tmp_path, "--api-key", key) as front,
            ServerEngine(front.url, api_key=SecretStr(key)) as engine,
            pytest.raises(VectorStoreError, match="limited to 'keyphrases-1'") as caught,
        ):
            engine.aliases()
        assert key not in str(caught.value)
