"""What only the server engine does: failures, repeats, keys, large requests, waiting."""

import logging
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from keydistill.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    CollectionStateError,
    EngineUnavailableError,
    SettingsError,
    VectorStoreError,
)
from keydistill.vectorstore import CollectionSpec, PointBatch
from keydistill.vectorstore.server import points as server
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.corpus import DIMENSION, SPEC, make_corpus, point_id, unit_vectors
from tests.support.front_process import FrontProcess
from tests.support.grpc_front import GrpcFront
from tests.support.places import ROOT
from tests.support.ports import free_port

KEY = "key-that-nobody-may-see"
QUICK: dict[str, Any] = {"backoff_seconds": 0.01}


@pytest.fixture
def faulty(front: FrontProcess) -> Iterator[FrontProcess]:
    """The shared front, whose faults end with the test."""
    front.forget_requests()
    yield front
    front.no_faults()


@pytest.fixture
def engine(faulty: FrontProcess) -> Iterator[ServerEngine]:
    with ServerEngine(faulty.url, retries=3, **QUICK) as engine:
        engine.aliases()  # asks for the version, once
        yield engine


@pytest.fixture
def name() -> str:
    return f"server-{uuid4().hex[:8]}"


def some_points(count: int, **payload: Any) -> PointBatch:
    ids = [point_id(number) for number in range(count)]
    return PointBatch(ids, unit_vectors(count, 1), [payload] * count)


def asked(front: FrontProcess, path: str) -> list[int]:
    """The statuses of the requests to a path, in turn."""
    return [request["status"] for request in front.requests() if request["path"].endswith(path)]


class TestAddress:
    def test_nobody_there(self, unused_port: int) -> None:
        with (
            ServerEngine(f"http://127.0.0.1:{unused_port}", retries=2, **QUICK) as engine,
            pytest.raises(EngineUnavailableError) as caught,
        ):
            engine.collections()
        text = str(caught.value)
        assert f"http://127.0.0.1:{unused_port}" in text
        assert "3 tries" in text
        assert "KEYDISTILL_QDRANT_URL" in text
        assert "\n" not in text

    def test_nobody_there_over_grpc(self, unused_port: int) -> None:
        url = f"http://127.0.0.1:{unused_port}"
        with (
            ServerEngine(url, protocol="grpc", grpc_port=unused_port, retries=1, **QUICK) as engine,
            pytest.raises(EngineUnavailableError, match="2 tries") as caught,
        ):
            engine.collections()
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("url", ["ftp://host:1", "http://host:port"])
    def test_no_address(self, url: str) -> None:
        with pytest.raises(SettingsError, match="qdrant_url"):
            ServerEngine(url)

    def test_no_qdrant(self) -> None:
        with (
            other_server() as url,
            ServerEngine(url, retries=3, **QUICK) as engine,
            pytest.raises(VectorStoreError, match="not Qdrant's") as caught,
        ):
            engine.collections()
        assert not isinstance(caught.value, EngineUnavailableError)
        assert "\n" not in str(caught.value)

    def test_server_that_is_too_old(self, tmp_path: Path) -> None:
        with (
            FrontProcess(tmp_path, "--version", "1.15.4") as old,
            ServerEngine(old.url) as engine,
            pytest.raises(VectorStoreError, match=r"1\.15\.4.*1\.16"),
        ):
            engine.collections()

    def test_version_is_asked_once(self, faulty: FrontProcess) -> None:
        with ServerEngine(faulty.url) as engine:
            assert asked(faulty, "/") == []
            engine.collections()
            engine.aliases()
        assert asked(faulty, "/") == [200]

    def test_closed(self, faulty: FrontProcess) -> None:
        engine = ServerEngine(faulty.url)
        engine.close()
        with pytest.raises(VectorStoreError, match="closed"):
            engine.collections()

    def test_package_does_not_load_the_client(self) -> None:
        code = (
            "import sys, keydistill.vectorstore\n"
            "sys.exit('qdrant_client' in sys.modules or 'qdrant_edge' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


class TestSecrets:
    def test_right_and_wrong_key(self, tmp_path: Path) -> None:
        with FrontProcess(tmp_path, "--api-key", KEY) as locked:
            with ServerEngine(locked.url, api_key=SecretStr(KEY)) as engine:
                assert engine.collections() == []
                assert KEY not in repr(engine)
            for key in (SecretStr(KEY + "x"), None):
                with (
                    ServerEngine(locked.url, api_key=key, **QUICK) as engine,
                    pytest.raises(VectorStoreError, match="KEYDISTILL_QDRANT_API_KEY") as caught,
                ):
                    engine.collections()
                shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                assert KEY not in shown

    def test_a_key_that_reads_is_enough_to_read(self, tmp_path: Path) -> None:
        reading = f"{KEY}-read"
        points = PointBatch([point_id(1)], unit_vectors(1, 1, 4), [{"keyphrase": "a"}])
        with FrontProcess(tmp_path, "--api-key", KEY, "--read-only-key", reading) as locked:
            with ServerEngine(locked.url, api_key=SecretStr(KEY)) as engine:
                engine.create("one", CollectionSpec(4, quantization="none"), {})
                engine.upsert("one", points)
                engine.finish("one")
                engine.swap_alias("live", "one", None)
            with ServerEngine(locked.url, api_key=SecretStr(reading)) as engine:
                assert engine.aliases() == {"live": "one"}
                assert [hit.id for hit in engine.query("live", points.vectors[0], 1)] == [point_id(1)]
                assert [record.id for record in engine.scroll("one")] == [point_id(1)]
                assert engine.count("one") == 1
                changes: list[Callable[[], object]] = [
                    lambda: engine.upsert("one", points),
                    lambda: engine.create("two", CollectionSpec(4), {}),
                    lambda: engine.set_metadata("one", {"a": 1}),
                    lambda: engine.swap_alias("live", "one", "one"),
                ]
                for change in changes:
                    with pytest.raises(VectorStoreError, match=r"^[^\n]*Forbidden: Global manage access[^\n]*$"):
                        change()
                assert engine.count("one") == 1

    def test_password_in_the_address_is_sent_and_never_shown(self, tmp_path: Path) -> None:
        # What a proxy would ask for; the front takes any text as the key.
        with FrontProcess(tmp_path, "--api-key", "Basic YW5uOnMzY3JldA==") as proxy:
            url = proxy.url.replace("//", "//ann:s3cret@")
            with ServerEngine(url, retries=0) as engine:
                assert engine.collections() == []
                assert "s3cret" not in repr(engine)
                proxy.stop()
                with pytest.raises(EngineUnavailableError) as caught:
                    engine.collections()
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))
        assert proxy.url in str(caught.value)

    def test_key_without_tls_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        for url in ("https://search.example:6333", "http://localhost:6333"):
            ServerEngine(url, api_key=SecretStr(KEY)).close()
        assert caplog.messages == []
        with caplog.at_level(logging.WARNING):
            ServerEngine("http://search.example:6333", api_key=SecretStr(KEY)).close()
        assert "unencrypted to http://search.example:6333" in caplog.text
        assert KEY not in caplog.text


class TestRepeats:
    def test_passing_failures_pass(self, faulty: FrontProcess, engine: ServerEngine) -> None:
        for status in (408, 429, 502, 503, 504):
            faulty.fault(status=status, times=1, match="GET /collections$")
            assert isinstance(engine.collections(), list)
            faulty.no_faults()
        assert asked(faulty, "/collections") == [408, 200, 429, 200, 502, 200, 503, 200, 504, 200]

    def test_repeats_end(self, faulty: FrontProcess, engine: ServerEngine) -> None:
        faulty.fault(status=503, match="GET /collections$")
        with pytest.raises(EngineUnavailableError, match=r"Service unavailable.*\(4 tries\)"):
            engine.collections()
        assert asked(faulty, "/collections") == [503] * 4

    @pytest.mark.parametrize("status", [400, 500, 507])
    def test_other_failures_are_told_at_once(self, faulty: FrontProcess, engine: ServerEngine, status: int) -> None:
        faulty.fault(status=status, match="GET /collections$")
        with pytest.raises(VectorStoreError, match="Service unavailable") as caught:
            engine.collections()
        assert not isinstance(caught.value, EngineUnavailableError)
        assert asked(faulty, "/collections") == [status]

    def test_server_says_when_to_come_back(self, faulty: FrontProcess, engine: ServerEngine) -> None:
        faulty.fault(status=429, times=1, retry_after=1, match="GET /collections$")
        started = time.monotonic()
        engine.collections()
        assert time.monotonic() - started >= 1

    def test_slow_answer(self, faulty: FrontProcess) -> None:
        with ServerEngine(faulty.url, timeout_seconds=1, retries=1, **QUICK) as engine:
            engine.aliases()
            faulty.fault(status=None, delay=1.5, times=1, match="GET /collections$")
            assert isinstance(engine.collections(), list)
            faulty.fault(status=None, delay=1.5, match="GET /aliases$")
            with pytest.raises(EngineUnavailableError, match="no answer in time"):
                engine.aliases()

    def test_every_third_request_fails(self, faulty: FrontProcess, engine: ServerEngine, name: str) -> None:
        faulty.fault(status=503, every=3)
        engine.create(name, SPEC, {"a": 1})
        for batch in make_corpus(300).batches(100):
            engine.upsert(name, batch)
        engine.finish(name)
        engine.swap_alias(f"{name}-alias", name, None)
        assert engine.count(f"{name}-alias") == 300
        assert 503 in asked(faulty, "")

    def test_answers_that_get_lost(self, faulty: FrontProcess, engine: ServerEngine, name: str) -> None:
        # The work is done, the answer is a 503, and the repeat finds it done.
        def lose(match: str) -> None:
            faulty.no_faults()
            faulty.fault(status=503, when="after", times=1, match=match)

        lose(f"PUT /collections/{name}$")
        engine.create(name, SPEC, {"whose": "ours"})
        lose("PUT .*/points")
        engine.upsert(name, some_points(5))
        lose("POST .*/points/delete")
        engine.delete(name, [point_id(0)])
        lose("PATCH")
        engine.finish(name)
        lose("PATCH")
        engine.set_metadata(name, {"whose": None, "when": "now"})
        lose("POST /collections/aliases")
        engine.swap_alias(f"{name}-alias", name, None)
        assert engine.info(f"{name}-alias").points == 4
        assert engine.info(name).metadata == {"when": "now"}
        other = f"{name}-other"
        engine.create(other, SPEC, {})
        lose(f"DELETE /collections/{other}")
        engine.drop(other)
        assert other not in engine.collections()

    def test_repeated_create_does_not_take_over(self, faulty: FrontProcess, engine: ServerEngine, name: str) -> None:
        engine.create(name, SPEC, {"whose": "theirs"})
        faulty.fault(status=503, when="after", times=1, match=f"PUT /collections/{name}$")
        with pytest.raises(CollectionExistsError):
            engine.create(name, SPEC, {"whose": "ours"})
        assert engine.info(name).metadata == {"whose": "theirs"}

    def test_server_that_restarts(self, tmp_path: Path, name: str) -> None:
        with FrontProcess(tmp_path) as front, ServerEngine(front.url, retries=8, backoff_seconds=0.1) as engine:
            engine.create(name, SPEC, {})
            engine.upsert(name, some_points(5))
            front.stop(kill=True)
            restart = threading.Timer(0.5, front.start)
            restart.start()
            assert engine.count(name) == 5
            restart.join()


class TestRequests:
    def test_stay_small(
        self, faulty: FrontProcess, engine: ServerEngine, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit = 200_000
        monkeypatch.setattr(server, "_REQUEST_BYTES", limit)
        engine.create(name, SPEC, {})
        vectors = np.full((1_000, DIMENSION), -1.2345678e-05, np.float32)
        ids = [point_id(number) for number in range(1_000)]
        payloads = [{"long": "ü✅" * (number % 100)} for number in range(1_000)]
        engine.upsert(name, PointBatch(ids, vectors, payloads))
        sizes = [request["bytes"] for request in faulty.requests() if request["path"].endswith("/points")]
        assert max(sizes) < limit
        assert len(sizes) < 3 * sum(sizes) / limit
        assert engine.count(name) == 1_000

        lists = engine.query_batch(name, unit_vectors(500, 3), 1)
        assert len(lists) == 500
        sizes = [request["bytes"] for request in faulty.requests() if request["path"].endswith("/query/batch")]
        assert len(sizes) > 1
        assert max(sizes) < limit

    def test_point_larger_than_a_request_goes_alone(
        self, faulty: FrontProcess, engine: ServerEngine, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "_REQUEST_BYTES", 10_000)
        engine.create(name, SPEC, {})
        batch = some_points(3)
        engine.upsert(name, PointBatch(batch.ids, batch.vectors, [{}, {"long": "x" * 50_000}, {}]))
        assert asked(faulty, "/points") == [200, 200, 200]
        assert engine.count(name) == 3

    def test_several_processes_at_once(self, faulty: FrontProcess, engine: ServerEngine, name: str) -> None:
        engine.create(name, SPEC, {})
        root = ROOT
        code = (
            "import sys; from tests.support.corpus import *\n"
            "from keydistill.vectorstore.server.engine import ServerEngine\n"
            "url, name, start = sys.argv[1], sys.argv[2], int(sys.argv[3])\n"
            "batch = make_corpus(400)\n"
            "for part in batch.batches(50)[start:start + 6]: ServerEngine(url).upsert(name, part)\n"
        )
        writers = [
            subprocess.Popen([sys.executable, "-c", code, faulty.url, name, str(start)], cwd=root) for start in (0, 2)
        ]
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
        assert engine.count(name) == 400


class TestFinish:
    @pytest.mark.parametrize("protocol", ["rest", "grpc"])
    def test_graph_and_quantization_are_made_at_once(
        self, faulty: FrontProcess, name: str, protocol: Literal["rest", "grpc"]
    ) -> None:
        with (
            GrpcFront(faulty.url) as grpc,
            ServerEngine(faulty.url, protocol=protocol, grpc_port=grpc.port, **QUICK) as engine,
        ):
            engine.create(name, SPEC, {})
            engine.upsert(name, some_points(50))
            loading = engine._client.get_collection(name).config
            assert (loading.hnsw_config.m, loading.quantization_config) == (0, None)
            engine.finish(name)
            finished = engine._client.get_collection(name).config
        assert finished.hnsw_config.m == SPEC.hnsw_m
        assert isinstance(finished.quantization_config, models.ScalarQuantization)

    def test_goes_on_after_the_server_was_killed(self, tmp_path: Path, name: str) -> None:
        with FrontProcess(tmp_path, "--optimize-delay", "1") as front, ServerEngine(front.url, **QUICK) as engine:
            engine.create(name, SPEC, {})
            engine.upsert(name, some_points(50))
            client = QdrantClient(url=front.url, check_compatibility=False)
            client.update_collection(name, hnsw_config=models.HnswConfigDiff(m=16))
            front.stop(kill=True)
            front.start()
            assert client.get_collection(name).status == models.CollectionStatus.GREY
            client.close()
            engine.finish(name)
            assert engine.info(name).state == "ready"

    def test_gives_up_when_nothing_moves(self, tmp_path: Path, name: str) -> None:
        with FrontProcess(tmp_path, "--optimize-delay", "60") as front:
            with ServerEngine(front.url, stall_seconds=0.3) as engine:
                engine.create(name, SPEC, {})
                with pytest.raises(EngineUnavailableError, match="stands still: status yellow"):
                    engine.finish(name)
                assert engine.info(name).state == "building"
                with pytest.raises(CollectionStateError, match="building"):
                    engine.swap_alias("live", name, None)
            front.stop(kill=True)

    def test_makes_indexes_that_a_dying_create_left_out(
        self, faulty: FrontProcess, engine: ServerEngine, name: str
    ) -> None:
        faulty.fault(status=500, match="PUT .*/index")
        with pytest.raises(VectorStoreError):
            engine.create(name, SPEC, {})
        faulty.no_faults()
        assert engine.info(name).payload_indexes == {}
        engine.finish(name)
        assert engine.info(name).payload_indexes == SPEC.payload_indexes


class TestOthersCollections:
    @pytest.fixture
    def theirs(self, faulty: FrontProcess, name: str) -> str:
        client = QdrantClient(url=faulty.url, check_compatibility=False)
        client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        client.close()
        return name

    def test_are_never_served(self, engine: ServerEngine, theirs: str) -> None:
        assert theirs in engine.collections()
        assert engine.info(theirs).state == "foreign"
        with pytest.raises(CollectionStateError, match="not made by keydistill"):
            engine.finish(theirs)
        with pytest.raises(CollectionStateError):
            engine.swap_alias(f"{theirs}-alias", theirs, None)

    def test_metadata_keys_of_ours(self, engine: ServerEngine, name: str) -> None:
        with pytest.raises(VectorStoreError, match="keydistill_state"):
            engine.create(name, SPEC, {"keydistill_state": "ready"})
        with pytest.raises(CollectionNotFoundError):
            engine.info(name)
        engine.create(name, SPEC, {})
        with pytest.raises(VectorStoreError, match="keydistill_state"):
            engine.set_metadata(name, {"keydistill_state": "ready", "mine": 1})
        assert (engine.info(name).state, engine.info(name).metadata) == ("building", {})


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    return free_port()


class other_server:  # noqa: N801
    """An HTTP server that knows nothing of Qdrant."""

    class _Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>\n<body>Welcome to nginx!</body>\n</html>")

        def log_message(self, *_: object) -> None:
            pass

    def __enter__(self) -> str:
        self._server = HTTPServer(("127.0.0.1", 0), self._Page)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
