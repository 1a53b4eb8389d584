"""gRPC by itself: requests go over it once its port has answered as the same server, and over REST until then."""

import logging
import socket
import threading
import time

import grpc  # type: ignore[import-untyped]
from qdrant_client import QdrantClient
from qdrant_client.grpc import HealthCheckRequest
from qdrant_client.qdrant_remote import QdrantRemote

_log = logging.getLogger(__name__)

# REST has just been answered by this host: a port of its that takes longer than this is blocked.
_CONNECT_SECONDS = 0.25
_ANSWER_SECONDS = 1.0


def is_over_grpc(client: QdrantClient) -> bool:
    """Whether a client speaks gRPC."""
    return isinstance(client._client, QdrantRemote) and client._client._prefer_grpc


class GrpcPort:
    """The gRPC port of a server, tried once for all engines that share a client."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._lock = threading.Lock()
        self._is_tried = False

    def try_once(self, client: QdrantClient, version: str) -> None:
        """Have the client speak gRPC if the port answers in time; a note says why it does not.

        Never raises: REST does all that gRPC does.

        Args:
            client: Speaks REST so far.
            version: Version that the server stated over REST.
        """
        with self._lock:
            remote = client._client
            if self._is_tried or not isinstance(remote, QdrantRemote):
                return
            self._is_tried = True
            reason = self._reason_against(remote, version)
            if reason is None:
                # Private, but a second client would load the CA certificates again, which takes 20 ms.
                remote._prefer_grpc = True
            else:
                _log.log(*reason)

    def _reason_against(self, remote: QdrantRemote, version: str) -> tuple[int, str] | None:
        """The level and text of a note on why gRPC is not spoken; None: it is."""
        address = f"{self._host}:{self._port}"
        try:
            # Before anything of gRPC is started, which costs more and is the slower to tell.
            socket.create_connection((self._host, self._port), timeout=_CONNECT_SECONDS).close()
        except ConnectionRefusedError:
            return logging.INFO, f"nothing listens for gRPC at {address}; REST is used"
        except OSError as error:
            text = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
            return logging.WARNING, self._note(text)
        began = time.monotonic()
        try:
            answer = remote.grpc_root.HealthCheck(HealthCheckRequest(), timeout=_ANSWER_SECONDS)
        except (grpc.RpcError, RuntimeError) as error:
            status = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
            return logging.WARNING, self._note(f"{status} after {time.monotonic() - began:.1f} s")
        if answer.version != version:
            return logging.WARNING, self._note(f"another server is there, of version {answer.version}, not {version}")
        return None

    def _note(self, reason: str) -> str:
        return (
            f"no gRPC at {self._host}:{self._port} ({reason}); REST is used. Correct KEYDISTILL_QDRANT_GRPC_PORT or "
            "the certificates, or set KEYDISTILL_QDRANT_GRPC=rest"
        )
