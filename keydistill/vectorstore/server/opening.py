"""Opening a connection to a Qdrant server: its address, key, certificates and protocol."""

import base64
import logging
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from qdrant_client import QdrantClient

from keydistill.errors import SettingsError
from keydistill.masking import shown_address
from keydistill.vectorstore.server.calls import Patience
from keydistill.vectorstore.server.connection import Connection
from keydistill.vectorstore.server.grpc_port import GrpcPort
from keydistill.vectorstore.server.tls import TlsFiles

Protocol: TypeAlias = Literal["auto", "rest", "grpc"]

_log = logging.getLogger(__name__)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def connect(
    url: str,
    *,
    api_key: SecretStr | None,
    protocol: Protocol,
    grpc_port: int | None,
    timeout_seconds: int,
    patience: Patience,
    backoff_seconds: float,
    tls: TlsFiles | None = None,
) -> Connection:
    """Prepare a connection; nothing is sent before the first call.

    Raises:
        SettingsError: The address cannot be one.
    """
    address = shown_address(url)
    try:
        port = grpc_port or _rest_port(url) + 1
        client = QdrantClient(
            url=url,
            prefer_grpc=protocol == "grpc",
            grpc_port=port,
            timeout=timeout_seconds,
            headers=_headers(url, api_key),
            # The client's own check runs in a thread and only warns; ours asks once and says what is wrong.
            check_compatibility=False,
            **(tls or TlsFiles()).client_options(),
        )
    except ValueError as error:
        # The reason may hold a piece of what was wrong, as of a password with a slash.
        reason = "" if "@" in url else f" ({error})"
        raise SettingsError(
            f"setting 'qdrant_url': {address!r} is no address{reason}; expected http://HOST:PORT or https://..."
        ) from None
    if api_key is not None and urlsplit(address).scheme == "http" and urlsplit(address).hostname not in _LOOPBACK:
        _log.warning("the API key travels unencrypted to %s; use an https address", address)
    key = None if api_key is None else api_key.get_secret_value()
    return Connection(
        client,
        address,
        patience=patience,
        backoff_seconds=backoff_seconds,
        key=key,
        grpc_port=GrpcPort(urlsplit(_with_scheme(url)).hostname or "localhost", port) if protocol == "auto" else None,
    )


def _rest_port(url: str) -> int:
    # As the client takes it where the address has none.
    return urlsplit(_with_scheme(url)).port or 6333


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _headers(url: str, api_key: SecretStr | None) -> dict[str, str]:
    """The headers that authenticate the client, for REST and gRPC alike."""
    headers: dict[str, str] = {}
    if api_key is not None:
        # As a header, because the `api_key` argument warns on every http address, the local one included.
        headers["api-key"] = api_key.get_secret_value()
    parts = urlsplit(_with_scheme(url))
    if parts.username is not None:
        # The client drops `user:password@`; a proxy before the server may want it.
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return headers
