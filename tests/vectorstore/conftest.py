"""The engines that the contract is tested on."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient

from keydistill.vectorstore import Engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.front_process import FrontProcess
from tests.support.grpc_front import GrpcFront

_SERVER_URL = os.environ.get("KEYDISTILL_TEST_QDRANT_URL")
_SERVER_KEY = os.environ.get("KEYDISTILL_TEST_QDRANT_API_KEY")


@dataclass
class Bench:
    """An engine under test.

    Attributes:
        kind: "embedded", or `ServerEngine` on the REST "front", the "grpc" one, a "cluster" whose nodes learn late of
            changes, the client's "local" mode or a real "server".
        open_another: A second engine on the same collections, as another process would open it; None: impossible.
    """

    kind: str
    engine: Engine
    open_another: Callable[[], Engine] | None
    names: list[str] = field(default_factory=list)

    def name(self, hint: str = "c") -> str:
        """A name that nobody else uses, for a collection or an alias."""
        self.names.append(f"keydistill-test-{hint}-{uuid4().hex[:12]}")
        return self.names[-1]

    def drop(self, names: Sequence[str]) -> None:
        """Drop the collections of these names that no alias names."""
        if names:
            for name in ({*names} & {*self.engine.collections()}) - {*self.engine.aliases().values()}:
                self.engine.drop(name)


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A REST front that the whole run shares; who orders faults from it ends them."""
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


@pytest.fixture(scope="session")
def lagging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """Three nodes behind one balancer, of which the last learns of changes a moment late."""
    with FrontProcess(tmp_path_factory.mktemp("lagging"), "--nodes", "3", "--lag", "0.05") as process:
        yield process


_KINDS = ["embedded", "front", "grpc", "cluster", "local", *(["server"] if _SERVER_URL else [])]


@pytest.fixture(scope="module", params=_KINDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Each engine in turn."""
    if request.param == "embedded":
        yield from _embedded(tmp_path_factory.mktemp("embedded"))
    elif request.param == "front":
        url = request.getfixturevalue("front").url
        with ServerEngine(url) as engine:
            yield Bench("front", engine, lambda: ServerEngine(url))
    elif request.param == "cluster":
        url = request.getfixturevalue("lagging").url
        with ServerEngine(url) as engine:
            yield Bench("cluster", engine, lambda: ServerEngine(url))
    elif request.param == "grpc":
        yield from _grpc(request.getfixturevalue("front").url)
    elif request.param == "local":
        with ServerEngine.from_client(QdrantClient(":memory:")) as engine:
            yield Bench("local", engine, None)
    else:
        assert _SERVER_URL is not None
        yield from _server(_SERVER_URL)


@pytest.fixture(autouse=True)
def _dropped(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test made goes with it: a shard begins with files of 33 MB, and a run's would be many gigabytes."""
    if "bench" not in request.fixturenames:
        yield
        return
    bench: Bench = request.getfixturevalue("bench")
    before = len(bench.names)
    yield
    bench.drop(bench.names[before:])


def _embedded(root: Path) -> Iterator[Bench]:
    with EmbeddedEngine(root) as engine:
        yield Bench("embedded", engine, lambda: EmbeddedEngine(root))
    shutil.rmtree(root)


def _grpc(url: str) -> Iterator[Bench]:
    with GrpcFront(url) as grpc_front:

        def connect() -> ServerEngine:
            return ServerEngine(url, protocol="grpc", grpc_port=grpc_front.port)

        with connect() as engine:
            yield Bench("grpc", engine, connect)


def _server(url: str) -> Iterator[Bench]:
    key = SecretStr(_SERVER_KEY) if _SERVER_KEY else None
    with ServerEngine(url, api_key=key) as engine:
        bench = Bench("server", engine, lambda: ServerEngine(url, api_key=key))
        yield bench
        headers = {"api-key": _SERVER_KEY} if _SERVER_KEY else None
        client = QdrantClient(url=url, headers=headers, check_compatibility=False)
        ours = set(bench.names) & {collection.name for collection in client.get_collections().collections}
        for name in ours:
            client.delete_collection(name)  # takes its aliases along
        client.close()
