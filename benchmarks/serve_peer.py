"""The peer of `benchmarks.serve`: what a user would write in an afternoon.

    python -m benchmarks.serve_peer STUDENT QDRANT_URL COLLECTION PORT

`SentenceTransformer.encode` behind plain FastAPI, and `QdrantClient` on the same vectors.
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from qdrant_client import QdrantClient
from qdrant_client.models import FieldCondition, Filter, MatchValue
from sentence_transformers import SentenceTransformer


class Item(BaseModel):
    """A listing."""

    title: str
    site: str | None = None


class Items(BaseModel):
    """Listings to find keyphrases for."""

    items: list[Item]
    limit: int = 10


def peer(student: str, url: str, collection: str) -> FastAPI:
    """The application."""
    app = FastAPI()
    model = SentenceTransformer(student)
    client = QdrantClient(url=url, check_compatibility=False)

    @app.post("/v1/recommend")
    def recommend(body: Items) -> list[list[dict[str, Any]]]:
        lists = []
        for item, vector in zip(body.items, model.encode([item.title for item in body.items]), strict=True):
            site = Filter(must=[FieldCondition(key="site", match=MatchValue(value=item.site))]) if item.site else None
            answer = client.query_points(collection, query=vector.tolist(), limit=body.limit, query_filter=site)
            lists.append([{"score": point.score, **(point.payload or {})} for point in answer.points])
        return lists

    return app


if __name__ == "__main__":
    uvicorn.run(peer(*sys.argv[1:4]), port=int(sys.argv[4]), log_level="warning")
