"""The server: one process, or several that share a port and are started again when they die."""

import ipaddress
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from keydistill.errors import SettingsError, one_line
from keydistill.serve.keys import KeyFile, Keys
from keydistill.settings import Settings
from keydistill.telemetry import begin_traces, configure_logs, log, remember_secrets

if TYPE_CHECKING:
    from fastapi import FastAPI

_log = logging.getLogger(__name__)

_BACKLOG = 2_048
# Handles of the listening socket in each process. For each of them uvloop takes one connection in a turn of its loop
# (libuv does not ask twice: https://github.com/libuv/libuv/pull/3696). Under load a turn takes tens of milliseconds,
# and with a single handle the last of a hundred new connections waited for seconds before it was read.
_HANDLES = 32
# Longer than clients and proxies keep a connection that they do not use: it must not close while they send.
_KEEP_ALIVE_SECONDS = 75
# The lanes and the event loop take turns with the interpreter's lock; Python's default would make each wait for 5 ms.
_SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class AppFactory:
    """Makes the application, in the process that serves it."""

    settings: Settings
    keys_required: bool
    # Of the page's sessions: whichever process is asked next must know them.
    session_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __call__(self) -> "FastAPI":
        """The application; logs and signals of this process are set."""
        from keydistill.serve.app import create_app

        _begin_telemetry(self.settings)
        sys.setswitchinterval(_SWITCH_SECONDS)
        if parent_process() is not None:
            threading.Thread(target=_end_with_parent, name="keydistill-parent", daemon=True).start()
        return create_app(self.settings, keys_required=self.keys_required, session_secret=self.session_secret)


def run_service(settings: Settings, *, allow_without_keys: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then end what is in flight.

    Args:
        settings: Settings in force.
        allow_without_keys: Serve other machines even where there is no API key.

    Raises:
        SettingsError: Other machines could ask without a key, or the certificate, a key file or the address is wrong.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    keys = Keys(settings.serve_keys, KeyFile.of(settings), required=False)
    loopback = is_loopback(settings.serve_host)
    if not (keys.required or loopback or allow_without_keys):
        raise SettingsError(
            f"{settings.serve_host} can be reached by other machines, and there is no API key; make one with "
            "`keydistill serve keys new NAME`, or allow it with --allow-without-keys"
        )
    _check_certificate(settings)
    settings = _with_threads(settings)
    _begin_telemetry(settings)
    with listening(settings) as listeners, _shared_metrics(settings.serve_processes):
        scheme = "http" if settings.serve_tls_cert is None else "https"
        host, port = listeners[0].getsockname()[:2]
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        log(_log, "listening", url=url, processes=settings.serve_processes)
        config = uvicorn.Config(
            AppFactory(settings, keys_required=keys.required or not (loopback or allow_without_keys)),
            factory=True,
            workers=settings.serve_processes,
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.serve_drain_seconds,
            ssl_certfile=settings.serve_tls_cert,
            ssl_keyfile=settings.serve_tls_key,
        )
        if settings.serve_processes == 1:
            uvicorn.Server(config).run(sockets=listeners)
        else:
            Multiprocess(config, sockets=listeners).run()


def _begin_telemetry(settings: Settings) -> None:
    configure_logs("json", "keydistill.serve")
    remember_secrets(settings)
    begin_traces(settings, "serve")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_threads(settings: Settings) -> Settings:
    """The settings of each of several processes, which share the cores."""
    if settings.threads is not None or settings.serve_processes == 1:
        return settings
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.model_copy(update={"threads": max(1, cores // settings.serve_processes)})


def _check_certificate(settings: Settings) -> None:
    """Refuse a certificate that cannot be used, before a process is started that would die of it.

    Raises:
        SettingsError: It, or its key, cannot be used.
    """
    if (settings.serve_tls_cert is None) != (settings.serve_tls_key is None):
        raise SettingsError("TLS needs a certificate and its key; give both --tls-cert and --tls-key")
    if settings.serve_tls_cert is None or settings.serve_tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.serve_tls_cert, settings.serve_tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{settings.serve_tls_cert} and {settings.serve_tls_key} are no certificate with its key "
            f"({one_line(str(error))}); expected PEM files"
        ) from None


@contextmanager
def listening(settings: Settings) -> Iterator[list[socket.socket]]:
    """Handles of one socket that listens where the settings say.

    Raises:
        SettingsError: The address or the port cannot be had.
    """
    host, port = settings.serve_host, settings.serve_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"the service cannot listen on {host}, port {port}: {error.strerror}; choose others with --host and --port"
        ) from None
    with ExitStack() as handles:
        handles.enter_context(listener)
        yield [listener, *(handles.enter_context(listener.dup()) for _ in range(_HANDLES - 1))]


@contextmanager
def _shared_metrics(processes: int) -> Iterator[None]:
    """A folder in which several processes keep their metrics; whichever is asked adds them up."""
    if processes == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="keydistill-metrics-") as folder:
        # Of prometheus-client, which reads it when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _end_with_parent() -> None:
    """End this process when the one that would start it again is gone, however it went."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
