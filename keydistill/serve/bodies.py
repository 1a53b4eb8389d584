"""From a request's body to the job that answers it, within the limits of the settings."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from keydistill.retrieval import Item, ListOptions, item_filter
from keydistill.serve.batches import Job, Search
from keydistill.serve.front import EXCHANGE, Exchange
from keydistill.serve.problems import Problem, invalid_body
from keydistill.serve.schemas import NO_CHOICE, EmbedRequest, Filters, PayloadCondition, RecommendRequest, ServiceItem
from keydistill.settings import Settings
from keydistill.tables import RejectedValueError, label_cell, leaf_category, normalize_keyphrase, text_cell
from keydistill.vectorstore import CATEGORY_IDS, AnyOf, Condition, Equals, Filter, Range

TIMEOUT_HEADER = "X-Timeout-Ms"

_Body = TypeVar("_Body", bound=BaseModel)
# Who is told that the body is not read must not send the next request behind it.
_CLOSE = {"Connection": "close"}


def deadline_of(request: Request, settings: Settings) -> float:
    """The time on the monotonic clock at which the client's patience, or ours, is over.

    Raises:
        Problem: The header is no whole number of milliseconds.
    """
    exchange: Exchange = request.scope[EXCHANGE]
    seconds = settings.serve_timeout_seconds
    given = request.headers.get(TIMEOUT_HEADER)
    if given is not None:
        if not (given.isascii() and given.isdigit() and len(given) <= 9 and int(given) > 0):
            raise Problem("malformed", f"the header {TIMEOUT_HEADER} is no whole number of milliseconds from 1 up")
        seconds = min(seconds, int(given) / 1_000)
    return exchange.began + seconds


async def read_body(request: Request, model: type[_Body], settings: Settings, deadline: float) -> _Body:
    """The body of a request.

    Raises:
        Problem: It is not JSON, too large, too slow, or not what the model says.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("media-type", "expected a body with `Content-Type: application/json`", headers=_CLOSE)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("media-type", "expected a body without `Content-Encoding`", headers=_CLOSE)
    exchange: Exchange = request.scope[EXCHANGE]
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            body = await _limited(request, settings.serve_body_bytes, exchange)
    except TimeoutError:
        raise Problem("body-timeout", "the body did not come within the time of the request", headers=_CLOSE) from None
    except ClientDisconnect:
        raise Problem("malformed", "the client left before its body was complete", headers=_CLOSE) from None
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error) from None


async def _limited(request: Request, most: int, exchange: Exchange) -> bytes:
    length = request.headers.get("content-length", "0")
    too_large = Problem("too-large", f"the body has more than {most:,} bytes; send fewer items at once", headers=_CLOSE)
    if length.isdigit() and int(length) > most:
        raise too_large
    chunks = []
    async for chunk in request.stream():
        exchange.body_bytes += len(chunk)
        if exchange.body_bytes > most:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def job_of(body: EmbedRequest | RecommendRequest, settings: Settings, deadline: float) -> Job:
    """What is to be done for a request.

    Raises:
        Problem: An item, the limit or a filter is not as it should be.
    """
    places = list(_beyond_limits(body, settings))
    items: list[Item] = []
    for number, given in enumerate(body.items if not places else ()):
        item = _item(f"/items/{number}", given, places)
        if item is not None:
            items.append(item)
    if places:
        raise Problem("invalid", f"{places[0][0]}: {places[0][1]}", places=places)
    search = None
    if isinstance(body, RecommendRequest):
        options = None if body.options == NO_CHOICE else ListOptions(**body.options.model_dump())
        search = Search(body.limit, _filters(items, body.filters), options, [item.exclude for item in body.items])
    titles, categories = [item.title for item in items], [item.category for item in items]
    return Job(titles, categories, [item.fields for item in items], search, deadline)


def _beyond_limits(body: EmbedRequest | RecommendRequest, settings: Settings) -> Iterator[tuple[str, str]]:
    """What is more than the settings allow: pointer and reason."""
    if len(body.items) > settings.serve_items:
        yield "/items", f"there are {len(body.items):,} items; at most {settings.serve_items:,} are allowed"
    for number, item in enumerate(body.items):
        if len(item.title) > settings.serve_title_chars:
            yield (
                f"/items/{number}/title",
                f"has {len(item.title):,} characters; at most {settings.serve_title_chars:,}",
            )
        chars = sum(len(text or "") for text in item.fields.values())
        if chars > settings.serve_title_chars:
            yield f"/items/{number}/fields", f"have {chars:,} characters; at most {settings.serve_title_chars:,}"
    if not isinstance(body, RecommendRequest):
        return
    if body.limit > settings.serve_limit:
        yield "/limit", f"is {body.limit:,}; at most {settings.serve_limit:,} keyphrases per item are allowed"
    yield from _unfit_choice(body, settings)
    conditions = body.filters.where
    if len(conditions) > settings.serve_conditions:
        yield "/filters/where", f"has {len(conditions):,} conditions; at most {settings.serve_conditions:,} are allowed"
    for number, condition in enumerate(conditions):
        place = f"/filters/where/{number}"
        if condition.any_of is not None and len(condition.any_of) > settings.serve_condition_values:
            yield (
                f"{place}/any_of",
                f"has {len(condition.any_of):,} values; at most {settings.serve_condition_values:,} are allowed",
            )
        if (condition.equals is not None) + (condition.any_of is not None) + bool(_bounds(condition)) != 1:
            yield place, "expected either `equals`, or `any_of`, or bounds (`gte`, `gt`, `lte`, `lt`)"
    if body.filters.category is not None and body.filters.match_category != "none":
        yield "/filters/match_category", "asks for the item's category beside a given `category`; leave one of them out"
    for name, reader in (("category", _category), ("site", label_cell)):
        try:
            reader(getattr(body.filters, name))
        except RejectedValueError as problem:
            yield f"/filters/{name}", problem.detail


def _unfit_choice(body: RecommendRequest, settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with the options of the lists and what they exclude."""
    if body.options.rerank and settings.assistant is None:
        yield "/options/rerank", "this service has no assistant; its setting `assistant` names one"
    try:
        ListOptions(**body.options.model_dump()).candidates_of(body.limit, 0)
    except ValueError as error:
        yield "/options", str(error)
    for number, item in enumerate(body.items):
        place = f"/items/{number}/exclude"
        if len(item.exclude) > settings.serve_exclude:
            yield place, f"has {len(item.exclude):,} keyphrases; at most {settings.serve_exclude:,} are allowed"
            continue
        for position, keyphrase in enumerate(item.exclude):
            try:
                normalize_keyphrase(keyphrase)
            except RejectedValueError as problem:
                yield f"{place}/{position}", problem.detail


def _item(place: str, given: ServiceItem, places: list[tuple[str, str]]) -> Item | None:
    """An item, spelt as one of a file would be; None where something is wrong, which is then in `places`."""
    name = "title"
    try:
        title = text_cell(given.title)
        name = "category_id" if given.category_id else "category_path"
        category = leaf_category(given.category_id, given.category_path)
        name = "site"
        return Item(given.id or "", title, category, label_cell(given.site), given.fields)
    except RejectedValueError as problem:
        places.append((f"{place}/{name}", problem.detail))
        return None


def _filters(items: Sequence[Item], given: Filters) -> list[Filter]:
    """The filter of each item."""
    further: list[Condition] = [_condition(condition) for condition in given.where]
    category = _category(given.category)
    if category is not None:
        further.append(CATEGORY_IDS.condition(category))
    site = label_cell(given.site)
    filters = []
    for item in items:
        own = item if site is None else Item(item.item_id, item.title, item.category, site)
        filter = item_filter(own, match_category=given.match_category, min_search_volume=given.min_search_volume)
        filters.append(Filter((*filter.must, *further)))
    return filters


def _category(given: str | None) -> str | None:
    return leaf_category(None, given)


def _condition(given: PayloadCondition) -> Condition:
    if given.equals is not None:
        return Equals(given.field, given.equals)
    if given.any_of is not None:
        # All of one type: the schema has no list of both.
        return AnyOf(given.field, tuple(given.any_of))  # type: ignore[arg-type]
    return Range(given.field, **_bounds(given))


def _bounds(given: PayloadCondition) -> dict[str, float]:
    return given.model_dump(include={"gte", "gt", "lte", "lt"}, exclude_none=True)
