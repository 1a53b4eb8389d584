"""A client of the HTTP service, synchronous and asynchronous; it needs nothing else of the product."""

from keydistill.client.answers import EmbeddedItems, KeyphraseHit, LiveGeneration, RecommendedItems
from keydistill.client.client import AsyncClient, Client
from keydistill.client.retries import Retries

__all__ = [
    "AsyncClient",
    "Client",
    "EmbeddedItems",
    "KeyphraseHit",
    "LiveGeneration",
    "RecommendedItems",
    "Retries",
]
