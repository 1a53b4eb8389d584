"""The engine, and the search, that the settings ask for."""

from keydistill.settings import Settings
from keydistill.vectorstore.engine import Engine, SearchParams


def open_engine(settings: Settings, *, few_questions: bool = False) -> Engine:
    """Open the embedded engine in `settings.home`, or connect to the server.

    Args:
        settings: Settings that say which, and where.
        few_questions: Whether so little is asked that the embedded engine should not first read in what a collection's
            placement keeps in memory.

    Raises:
        EngineUnavailableError: The server does not answer.
    """
    if settings.engine == "embedded":
        from keydistill.vectorstore.edge import EmbeddedEngine

        return EmbeddedEngine(settings.home, grace_seconds=settings.grace_seconds, left_in_files=few_questions)
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
