"""The exporter's process."""

import logging
import signal
import threading

from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from keydistill.errors import SettingsError
from keydistill.exporter.collector import OperationsCollector
from keydistill.settings import Settings

_log = logging.getLogger(__name__)
# While it answers one scrape, Prometheus does not ask again.
_QUICK_SECONDS = 5.0


def exposition(settings: Settings) -> str:
    """All metrics in Prometheus' text format."""
    return generate_latest(_registry(settings)).decode()


def run_exporter(settings: Settings, host: str, port: int) -> None:
    """Answer scrapes until SIGTERM or SIGINT.

    Raises:
        SettingsError: Nobody can listen on that address.
    """
    try:
        server, thread = start_http_server(port, host, _registry(settings))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        ) from None
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    _log.info("metrics on http://%s:%d/metrics", host, server.server_port)
    ended.wait()
    server.shutdown()
    server.server_close()
    thread.join()


def _registry(settings: Settings) -> CollectorRegistry:
    # Not read when it is registered: a Redis that is away must not keep the exporter from starting.
    registry = CollectorRegistry(auto_describe=False)
    quick = settings.model_copy(
        update={"qdrant_retries": 1, "qdrant_timeout_seconds": min(_QUICK_SECONDS, settings.qdrant_timeout_seconds)}
    )
    registry.register(OperationsCollector(quick))
    return registry
