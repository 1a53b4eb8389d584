"""The application: routes, and what they share while it runs."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keydistill.errors import (
    CollectionLostError,
    CollectionNotFoundError,
    EngineUnavailableError,
    KeydistillError,
    VectorStoreError,
)
from keydistill.retrieval import LiveRetriever
from keydistill.serve import metrics
from keydistill.serve.batches import Batches, Job, Outcome
from keydistill.serve.bodies import deadline_of, job_of, read_body
from keydistill.serve.front import EXCHANGE, Exchange, Front, milliseconds, refuse
from keydistill.serve.keys import KeyFile, Keys
from keydistill.serve.live import Live
from keydistill.serve.openapi import DESCRIPTION, document, operation
from keydistill.serve.page import Page, add_page
from keydistill.serve.problems import Problem
from keydistill.serve.readiness import Readiness
from keydistill.serve.sample import Sample
from keydistill.serve.schemas import (
    EmbedAnswer,
    EmbedRequest,
    GenerationAnswer,
    Health,
    RecommendAnswer,
    RecommendRequest,
)
from keydistill.serve.sessions import Sessions
from keydistill.serve.shadow import Shadow
from keydistill.settings import Settings
from keydistill.telemetry import end_traces, past_span

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
# Vectors are printed with as many digits as tell two floats of 32 bits apart.
_VECTOR_DIGITS = 9


@dataclass(slots=True)
class Service:
    """What the routes share while the application runs."""

    settings: Settings
    live: Live
    batches: Batches
    readiness: Readiness
    sample: Sample
    shadow: Shadow

    async def outcome(self, request: Request, job: Job) -> Outcome:
        """The outcome of a request; errors of ours become problems.

        Raises:
            Problem: There is none.
        """
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.items = len(job.titles)
        if self.settings.serve_log_texts:
            exchange.titles = list(job.titles)
        try:
            exchange.outcome = await self.batches.outcome(job)
        except (EngineUnavailableError, CollectionNotFoundError, CollectionLostError) as error:
            raise Problem("engine-unavailable", "try again in a moment", retry_after=_RETRY_SECONDS) from error
        except VectorStoreError as error:
            if job.search is not None and any(filter.must for filter in job.search.filters):
                detail = "the engine refused the filters; name fields and values as the inventory has them"
                raise Problem("invalid", detail, places=[("/filters", detail)]) from error
            raise
        self.shadow.offer(job, exchange.outcome)
        _trace(job, exchange.outcome)
        return exchange.outcome


def create_app(
    settings: Settings,
    *,
    keys_required: bool,
    session_secret: bytes | None = None,
    open_retriever: Callable[..., LiveRetriever] = LiveRetriever.open,
) -> FastAPI:
    """The application.

    Args:
        settings: Settings in force.
        keys_required: Whether an API key is needed even while there is none.
        session_secret: Random bytes that sign the page's sessions, the same in all processes; None takes new ones.
        open_retriever: Function that opens the live retriever.
    """
    keys = Keys(settings.serve_keys, KeyFile.of(settings), required=keys_required)
    sessions = Sessions(keys, session_secret or secrets.token_bytes(32)) if settings.serve_page else None

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        live = Live(settings, open_retriever)
        batches = Batches(
            live.answer,
            most_items=settings.serve_queue_items,
            batch_items=settings.serve_batch_items,
            wait_seconds=settings.serve_batch_wait_ms / 1_000,
        )
        readiness = Readiness(live, batches)
        service = Service(settings, live, batches, readiness, Sample.of(settings), Shadow(settings))
        app.state.service = service
        app.state.page = Page(settings, live)
        watching = asyncio.create_task(readiness.watch())
        yield
        readiness.drain()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(batches.close, settings.serve_drain_seconds)
        await asyncio.to_thread(app.state.page.close)
        await asyncio.to_thread(service.shadow.close)
        await asyncio.to_thread(service.sample.close)
        await asyncio.to_thread(live.close, settings.serve_drain_seconds)
        # After this uvicorn lets the signal that ends the service end the process.
        await asyncio.to_thread(end_traces)

    app = FastAPI(
        title="keydistill",
        description=DESCRIPTION,
        lifespan=running,
        # Its pages take their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    _add_routes(app)
    if sessions is not None:
        add_page(app, sessions)
    paths = frozenset(path for route in app.routes if (path := getattr(route, "path", None)))

    def refuse_early() -> None:
        service: Service = app.state.service
        if not service.readiness.is_warm:
            raise Problem("not-ready", service.readiness.reason() or "no answer yet", retry_after=_RETRY_SECONDS)
        service.batches.refuse_if_full()

    app.add_middleware(Front, paths=paths, keys=keys, refuse=refuse_early, sessions=sessions)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    return app


def _add_routes(app: FastAPI) -> None:
    @app.post("/v1/recommend", **operation(RecommendRequest, RecommendAnswer))
    async def recommend(request: Request) -> Response:
        """Keyphrases for one or many items, all by one generation."""
        service: Service = request.app.state.service
        deadline = deadline_of(request, service.settings)
        body = await read_body(request, RecommendRequest, service.settings, deadline)
        if (reason := service.readiness.reason()) is not None:
            raise Problem("not-ready", reason, retry_after=_RETRY_SECONDS)
        outcome = await service.outcome(request, job_of(body, service.settings, deadline))
        service.sample.offer(body.items)
        results = [
            {
                "id": item.id,
                "keyphrases": [recommendation.as_dict() for recommendation in recommendations],
            }
            for item, recommendations in zip(body.items, outcome.lists, strict=True)
        ]
        return _json({"generation": _generation(outcome), "results": results}, outcome)

    @app.post("/v1/embed", **operation(EmbedRequest, EmbedAnswer))
    async def embed(request: Request) -> Response:
        """Vectors of one or many items, for services that query the collection themselves."""
        service: Service = request.app.state.service
        deadline = deadline_of(request, service.settings)
        body = await read_body(request, EmbedRequest, service.settings, deadline)
        outcome = await service.outcome(request, job_of(body, service.settings, deadline))
        service.sample.offer(body.items)
        results = [
            {"id": item.id, "vector": [round(number, _VECTOR_DIGITS) for number in vector.tolist()]}
            for item, vector in zip(body.items, outcome.vectors, strict=True)
        ]
        answer = {
            "generation": _generation(outcome),
            "dimension": len(outcome.vectors[0]),
            "results": results,
        }
        return _json(answer, outcome)

    @app.get("/v1/generation", **operation(None, GenerationAnswer))
    async def generation(request: Request) -> Response:
        """The generation that answers, and the state of following the alias."""
        status = request.app.state.service.live.status()
        if status is None:
            raise Problem("not-ready", "it is being shut down", retry_after=_RETRY_SECONDS)
        return _json(
            {
                "generation": {"collection": status.collection, "student_version": status.student_version},
                "alias": status.alias,
                "named": status.named,
                "since": status.since.isoformat(timespec="milliseconds"),
                "changes": status.changes,
                "failure": None
                if status.failure is None
                else "the alias cannot be followed at the moment; see the log",
            }
        )

    @app.get("/livez", **operation(None, Health, key=False))
    async def livez() -> Response:
        """Whether the process lives."""
        return _json({"status": "ok"})

    @app.get("/readyz", **operation(None, Health, key=False, ready=True))
    async def readyz(request: Request) -> Response:
        """Whether the process answers requests."""
        reason = request.app.state.service.readiness.reason()
        if reason is not None:
            raise Problem("not-ready", reason, retry_after=_RETRY_SECONDS)
        return _json({"status": "ok"})

    @app.get("/metrics", **operation(None, None, key=False))
    async def read_metrics(request: Request) -> Response:
        """Metrics of all processes, for Prometheus."""
        text = await asyncio.to_thread(metrics.exposition, request.app.state.service.live.status())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    exchange: Exchange = request.scope[EXCHANGE]
    if isinstance(problem.__cause__, KeydistillError):
        # What the engine says may name machines, which is for the log alone.
        _log.warning("request %s: %s", exchange.request_id, problem.__cause__)
    response = refuse(exchange, problem)
    assert isinstance(response, Response)
    return response


async def _http_problem(request: Request, error: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return await _problem(request, Problem("method-not-allowed", f"expected {allowed}", headers={"Allow": allowed}))
    return await _problem(request, Problem("not-found", "GET /openapi.json lists all paths"))


def _json(content: dict[str, Any], outcome: Outcome | None = None) -> Response:
    headers = None
    if outcome is not None:
        times = milliseconds(outcome)
        headers = {"Server-Timing": ", ".join(f"{name.removesuffix('_ms')};dur={ms}" for name, ms in times.items())}
    return Response(to_json(content, inf_nan_mode="null"), headers=headers, media_type="application/json")


def _trace(job: Job, outcome: Outcome) -> None:
    """Spans of what a request went through; its batch was answered by another thread, together with others."""
    past_span("waiting", job.queued, outcome.waited)
    past_span("embedding", job.taken, outcome.embedded)
    if job.search is not None:
        past_span("search", job.taken + outcome.embedded, outcome.searched)


def _generation(outcome: Outcome) -> dict[str, str]:
    return {"collection": outcome.collection, "student_version": outcome.student_version}
