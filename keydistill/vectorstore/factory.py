"""The engine, and the search, that the settings ask for."""

from keydistill.settings import Settings
from keydistill.vectorstore.engine import Engine, SearchParams


def open_engine(settings: Settings, *, left_in_files: bool = False) -> Engine:
    """Open the embedded engine in `settings.home`, or connect to the server.

    Args:
        settings: Settings that say which, and where.
        left_in_files: As `EmbeddedEngine` takes it: for who asks little, or must not stand still meanwhile.

    Raises:
        EngineUnavailableError: The server does not answer.
    """
    if settings.engine == "embedded":
        from keydistill.vectorstore.edge import EmbeddedEngine

        return EmbeddedEngine(settings.home, grace_seconds=settings.grace_seconds, left_in_files=left_in_files)
    from keydistill.vectorstore.server import ServerEngine, TlsFiles

    return ServerEngine(
        settings.qdrant_url,
        api_key=settings.qdrant_api_key,
        protocol=settings.qdrant_grpc,
        grpc_port=settings.qdrant_grpc_port,
        timeout_seconds=settings.qdrant_timeout_seconds,
        retries=settings.qdrant_retries,
        tls=TlsFiles(settings.qdrant_ca_certificate, settings.qdrant_client_certificate, settings.qdrant_client_key),
        query_seconds=settings.qdrant_query_seconds,
        lift_limits=settings.qdrant_lift_limits,
    )


def search_params_of(settings: Settings) -> SearchParams:
    """How hard queries look that were not tuned: the one place for serving, the gate, tuning and benchmarks."""
    return SearchParams(ef=settings.search_ef, oversampling=settings.search_oversampling)
