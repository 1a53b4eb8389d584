"""gRPC by itself: spoken where its port answers as the same server, and REST with one note where it does not."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keydistill.vectorstore.server import grpc_port
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.certificates import Certificates
from tests.support.front_process import FrontProcess
from tests.support.grpc_front import GrpcFront
from tests.support.ports import free_port


def asks_over_grpc(front: FrontProcess, port: int) -> bool:
    """Whether it listed collections, three times, over gRPC; REST is asked for the version either way."""
    with ServerEngine(front.url, grpc_port=port) as engine:
        engine.collections()
        for _ in range(2):
            engine.collections()
        remote: Any = engine._client._client
        return bool(remote._prefer_grpc)


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, as a firewall's or a proxy's may."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextmanager
def blocked_port() -> Iterator[int]:
    """A port whose queue of connections is full: the next one is not answered at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


def test_it_is_spoken_where_it_answers(front: FrontProcess, caplog: pytest.LogCaptureFixture) -> None:
    with GrpcFront(front.url) as grpc:
        assert asks_over_grpc(front, grpc.port)
    assert notes(caplog) == []


def test_rest_alone_is_no_reason_for_a_note(front: FrontProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not asks_over_grpc(front, free_port())
    assert notes(caplog) == []
    assert "nothing listens for gRPC" in caplog.text


def test_a_port_with_tls(front: FrontProcess, certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    with GrpcFront(front.url, certificates) as grpc:
        assert not asks_over_grpc(front, grpc.port)
    assert [note.startswith("no gRPC at 127.0.0.1") for note in notes(caplog)] == [True]


@pytest.mark.parametrize("port_of", [silent_port, blocked_port])
def test_a_port_that_never_answers(
    front: FrontProcess, port_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grpc_port, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(grpc_port, "_CONNECT_SECONDS", 0.2)
    with port_of() as port:
        began = time.monotonic()
        assert not asks_over_grpc(front, port)
        assert time.monotonic() - began < 10
    assert len(notes(caplog)) == 1


def test_another_server_at_the_port(
    front: FrontProcess, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        FrontProcess(tmp_path_factory.mktemp("older"), "--version", "1.17.0") as older,
        GrpcFront(older.url) as grpc,
    ):
        assert not asks_over_grpc(front, grpc.port)
    assert "another server is there, of version 1.17.0" in caplog.text


def test_what_is_patient_shares_what_was_found(front: FrontProcess, caplog: pytest.LogCaptureFixture) -> None:
    with silent_port() as port, ServerEngine(front.url, grpc_port=port) as engine:
        patient = engine.patient(1.0, lambda text: None)
        engine.collections()
        patient.collections()
    assert len(notes(caplog)) == 1
