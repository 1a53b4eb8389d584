"""The server engine: collections on a Qdrant server, over REST or gRPC."""

from keydistill.vectorstore.server.engine import ServerEngine

__all__ = [
    "ServerEngine",
]
