"""The routes of the page. What it asks of the service itself it asks as everybody does: `/v1/recommend`."""

import asyncio
import hashlib
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import Field, StrictBool, StrictStr
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from keydistill.errors import KeydistillError
from keydistill.serve.bodies import deadline_of, job_of, read_body
from keydistill.serve.front import EXCHANGE
from keydistill.serve.page.judgments import Judgment
from keydistill.serve.page.overview import overview, ready_collections
from keydistill.serve.page.page import Page
from keydistill.serve.problems import Problem
from keydistill.serve.schemas import EmbedRequest, RecommendRequest, ServiceItem, StrictBody
from keydistill.serve.sessions import Sessions, comes_from_own_page
from keydistill.tables import RejectedValueError, id_cell, label_cell, leaf_category, normalize_keyphrase

_ASSETS = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/page/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("page", "api", "elements", "input", "lists", "output", "state")
    },
}
# Nothing comes from elsewhere, nothing in the page itself is run, and no other page puts it into a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class LoginRequest(StrictBody):
    """A key that opens the page."""

    key: Annotated[StrictStr, Field(max_length=1_000)]


class CompareRequest(RecommendRequest):
    """Items to find keyphrases for by another generation than the live one."""

    collection: Annotated[StrictStr, Field(max_length=1_000)]


class JudgeRequest(EmbedRequest):
    """What a person says of an item and a keyphrase."""

    items: Annotated[list[ServiceItem], Field(min_length=1, max_length=1)]
    keyphrase: Annotated[StrictStr, Field(max_length=1_000)]
    relevant: StrictBool
    note: Annotated[StrictStr, Field(max_length=1_000)] | None = None
    collection: Annotated[StrictStr, Field(max_length=1_000)] | None = None
    student_version: Annotated[StrictStr, Field(max_length=1_000)] | None = None


def add_page(app: FastAPI, sessions: Sessions) -> None:
    """Add the page's routes, which the OpenAPI document does not have: they are for the page alone.

    Args:
        app: The application, whose state has a `page` while it runs.
        sessions: Sessions of the page.
    """
    for path, (name, media_type) in _ASSETS.items():
        app.add_api_route(path, _asset(name, media_type), methods=["GET"], include_in_schema=False)

    @app.post("/page/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        _refuse_other_sites(request)
        page: Page = request.app.state.page
        body = await read_body(request, LoginRequest, page.settings, deadline_of(request, page.settings))
        response = _nothing()
        name = sessions.begin(response, body.key.strip(), request.url.scheme)
        if name is None:
            raise Problem("unauthorized", "the key is not known", headers={"WWW-Authenticate": "Bearer"})
        request.scope[EXCHANGE].key = name
        return response

    @app.post("/page/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        _refuse_other_sites(request)
        response = _nothing()
        sessions.end(response, request.url.scheme)
        return response

    @app.get("/v1/page/overview", include_in_schema=False)
    async def show_overview(request: Request) -> Response:
        page: Page = request.app.state.page
        content = await asyncio.to_thread(overview, page.settings, page.live, request.scope[EXCHANGE].key)
        return _json(content)

    @app.post("/v1/page/compare", include_in_schema=False)
    async def compare(request: Request) -> Response:
        _refuse_other_sites(request)
        page: Page = request.app.state.page
        deadline = deadline_of(request, page.settings)
        body = await read_body(request, CompareRequest, page.settings, deadline)
        if body.options.rerank:
            detail = "expected 0: only the live generation has an assistant"
            raise Problem("invalid", f"/options/rerank: {detail}", places=[("/options/rerank", detail)])
        job = job_of(body, page.settings, deadline)
        await _refuse_unknown(page, body.collection)
        answer = await page.compared.answer(body.collection, job)
        results = [
            {"id": item.id, "keyphrases": [each.as_dict() for each in recommendations]}
            for item, recommendations in zip(body.items, answer.lists, strict=True)
        ]
        generation = {"collection": answer.collection, "student_version": answer.student_version}
        return _json({"generation": generation, "results": results})

    @app.post("/v1/page/judgments", include_in_schema=False)
    async def judge(request: Request) -> Response:
        _refuse_other_sites(request)
        page: Page = request.app.state.page
        deadline = deadline_of(request, page.settings)
        body = await read_body(request, JudgeRequest, page.settings, deadline)
        judgment = _judgment(body, job_of(body, page.settings, deadline).titles[0], request.scope[EXCHANGE].key)
        if len(judgment.keyphrase) > page.settings.max_keyphrase_chars:
            detail = f"has {len(judgment.keyphrase):,} characters; at most {page.settings.max_keyphrase_chars:,}"
            raise Problem("invalid", f"/keyphrase: {detail}", places=[("/keyphrase", detail)])
        try:
            await asyncio.to_thread(page.judgments.add, judgment)
        except (KeydistillError, OSError) as error:
            raise Problem("internal", "the judgment could not be kept; the log says why") from error
        return _nothing()


def _asset(name: str, media_type: str) -> Any:
    content = files(__package__).joinpath("assets", name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag, "Cache-Control": "no-cache"}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return answer


def _refuse_other_sites(request: Request) -> None:
    """Refuse what another site has a browser send; a key in a header is not sent by a browser by itself.

    Raises:
        Problem: Neither the page nor a key in a header sent it.
    """
    if "authorization" not in request.headers and not comes_from_own_page(request.headers):
        raise Problem("other-site", "expected an `Origin` that is the address of the service, as browsers send it")


async def _refuse_unknown(page: Page, collection: str) -> None:
    """Refuse a collection that the page does not offer: a key of this service opens no other alias.

    Raises:
        Problem: It is none of those.
    """
    if collection == page.compared.collection:
        return
    engine = page.live.engine
    try:
        ready = [] if engine is None else await asyncio.to_thread(ready_collections, page.settings, engine)
    except KeydistillError as error:
        raise Problem("engine-unavailable", "try again in a moment", retry_after=1) from error
    if collection not in {each["collection"] for each in ready}:
        detail = "is no ready collection of this service's alias; choose another one"
        raise Problem("invalid", f"/collection: {detail}", places=[("/collection", detail)])


def _judgment(body: JudgeRequest, title: str, key: str | None) -> Judgment:
    """The judgment in a body whose item is checked.

    Raises:
        Problem: The id of the item, its site or the keyphrase is none.
    """
    item = body.items[0]
    path, place = None, ""
    try:
        place = "/items/0/id"
        item_id = None if item.id is None or not item.id.strip() else id_cell(item.id)
        place = "/items/0/site"
        site = label_cell(item.site)
        place = "/items/0/category_path"
        # An id that is no path is none that a training could read.
        path = None if item.category_path is None else leaf_category(None, item.category_path)
        place = "/keyphrase"
        if not normalize_keyphrase(body.keyphrase):
            raise Problem("invalid", "/keyphrase: is empty", places=[("/keyphrase", "is empty")])
        note = None if body.note is None else " ".join(body.note.split()) or None
    except RejectedValueError as problem:
        raise Problem("invalid", f"{place}: {problem.detail}", places=[(place, problem.detail)]) from None
    return Judgment(
        *(item_id, title, path, site, body.keyphrase, body.relevant, note, key), body.collection, body.student_version
    )


def _nothing() -> Response:
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


def _json(content: dict[str, Any]) -> Response:
    body = to_json(content, inf_nan_mode="null")
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")
