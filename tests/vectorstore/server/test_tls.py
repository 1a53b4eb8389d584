"""TLS to a Qdrant server, over REST and gRPC, with certificates of the tests' own CA."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keydistill.errors import EngineUnavailableError, SettingsError
from keydistill.settings import load_settings
from keydistill.vectorstore import open_engine
from tests.support.certificates import Certificates, TlsProxy
from tests.support.front_process import FrontProcess
from tests.support.grpc_front import GrpcFront


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[tuple[int, int]]:
    """Ports of REST and gRPC of a server that asks its clients for a certificate."""
    with (
        FrontProcess(tmp_path_factory.mktemp("front")) as front,
        TlsProxy(int(front.url.rpartition(":")[2]), certificates.server_context(asks_clients=True)) as rest,
        GrpcFront(front.url, certificates) as grpc,
    ):
        yield rest.port, grpc.port


def collections(home: Path, ports: tuple[int, int], *, grpc: bool, **files: Path) -> list[str]:
    settings = load_settings(
        home=home,
        engine="server",
        qdrant_url=f"https://127.0.0.1:{ports[0]}",
        qdrant_grpc_port=ports[1],
        qdrant_grpc="grpc" if grpc else "rest",
        qdrant_retries=0,
        qdrant_timeout_seconds=5,
        **files,
    )
    engine = open_engine(settings)
    try:
        return engine.collections()
    finally:
        engine.close()


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_the_settings_name_the_certificates(
    tmp_path: Path, ports: tuple[int, int], certificates: Certificates, grpc: bool
) -> None:
    names = {
        "qdrant_ca_certificate": certificates.ca,
        "qdrant_client_certificate": certificates.client,
        "qdrant_client_key": certificates.client_key,
    }
    assert collections(tmp_path, ports, grpc=grpc, **names) == []


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
@pytest.mark.parametrize("which", ["none", "other_ca", "without_client"])
def test_what_does_not_fit_is_refused(
    tmp_path: Path, ports: tuple[int, int], certificates: Certificates, which: str, grpc: bool
) -> None:
    files = {"other_ca": {"qdrant_ca_certificate": certificates.other_ca}}
    files["without_client"] = {"qdrant_ca_certificate": certificates.ca}
    with pytest.raises(EngineUnavailableError):
        collections(tmp_path, ports, grpc=grpc, **files.get(which, {}))


def test_files_that_hold_no_certificate(tmp_path: Path, certificates: Certificates) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(SettingsError, match=r"the certificates of Qdrant cannot be read .*empty\.pem"):
        collections(tmp_path, (1, 1), grpc=False, qdrant_ca_certificate=empty)
    with pytest.raises(SettingsError, match=r"No such file .*gone\.pem"):
        collections(tmp_path, (1, 1), grpc=True, qdrant_ca_certificate=tmp_path / "gone.pem")
    with pytest.raises(SettingsError, match="qdrant_client_certificate is not"):
        collections(tmp_path, (1, 1), grpc=True, qdrant_client_key=certificates.client_key)
