"""The embedded engine: Qdrant Edge, Qdrant's own engine in a folder, nothing to start."""

from keydistill.vectorstore.edge.cards import Card
from keydistill.vectorstore.edge.catalog import CollectionEntry
from keydistill.vectorstore.edge.engine import EmbeddedEngine

__all__ = [
    "Card",
    "CollectionEntry",
    "EmbeddedEngine",
]
