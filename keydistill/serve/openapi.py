"""The OpenAPI document: what FastAPI makes of the routes, and the bodies that they read themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from keydistill.serve.problems import KINDS, MEDIA_TYPE
from keydistill.serve.schemas import EmbedRequest, ProblemAnswer, RecommendRequest

DESCRIPTION = (
    "Keyphrases for items, out of the live collection. Every answer names the generation that it comes from: the "
    "collection, and the student that built it. Errors are problem details (RFC 9457)."
)
_REFERENCE = "#/components/schemas/{model}"
# Of requests with a body; the first three of all with a key.
_STATUSES = (401, 429, 503, 400, 408, 413, 415, 422, 504, 500)


def operation(
    body: type[BaseModel] | None, answer: type[BaseModel] | None, *, key: bool = True, ready: bool = False
) -> dict[str, Any]:
    """Options of a route.

    Args:
        body: Schema of its body; the route reads it by itself, within limits.
        answer: Schema of its answer; None is text.
        key: Whether it needs a key where there are keys.
        ready: Whether it answers 503 without needing a key.
    """
    statuses = _STATUSES if body else _STATUSES[:3] if key else (503,) if ready else ()
    options: dict[str, Any] = {
        "response_model": answer,
        "responses": {status: _refusal(status) for status in statuses},
        "openapi_extra": {},
    }
    if key:
        options["openapi_extra"]["security"] = [{"key": []}, {}]
    if answer is None:
        options["responses"][200] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    if body is not None:
        content = {"schema": {"$ref": _REFERENCE.format(model=body.__name__)}}
        options["openapi_extra"]["requestBody"] = {"required": True, "content": {"application/json": content}}
        options["openapi_extra"]["parameters"] = [
            {
                "name": "X-Timeout-Ms",
                "in": "header",
                "description": "longest time of the request in milliseconds; more than the service's own is cut to it",
                "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
            }
        ]
    return options


def document(app: FastAPI) -> dict[str, Any]:
    """The document, built once."""
    if app.openapi_schema is None:
        content = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = content["components"]["schemas"]
        for model in (RecommendRequest, EmbedRequest, ProblemAnswer):
            schema = model.model_json_schema(ref_template=_REFERENCE)
            schemas |= schema.pop("$defs", {})
            schemas[model.__name__] = schema
        content["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = content
    return app.openapi_schema


def _refusal(status: int) -> dict[str, Any]:
    titles = [kind.title for kind in KINDS.values() if kind.status == status]
    content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=ProblemAnswer.__name__)}}}
    refusal: dict[str, Any] = {"description": "; ".join(titles), "content": content}
    if status in (429, 503):
        seconds = {"description": "seconds to wait before the next try", "schema": {"type": "integer"}}
        refusal["headers"] = {"Retry-After": seconds}
    return refusal
