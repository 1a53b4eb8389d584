"""The server engine: collections on a Qdrant server, over REST or gRPC."""

from keydistill.vectorstore.server.engine import ServerEngine
from keydistill.vectorstore.server.tls import TlsFiles

__all__ = ["ServerEngine", "TlsFiles"]
