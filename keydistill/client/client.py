"""The client, twice: one waits, the other is awaited."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx

from keydistill.client.answers import EmbeddedItems, LiveGeneration, RecommendedItems, unreadable
from keydistill.client.retries import Retries, failure

ItemFields = str | Mapping[str, Any]


class Client:
    """Asks a service; threads may share one, which keeps its connections open.

    >>> with Client("http://127.0.0.1:8077") as client:  # doctest: +SKIP
    ...     client.recommend(["Apple iPhone 13 clear case"], limit=5).keyphrases[0]
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 10.0,
        retries: Retries = Retries(),  # noqa: B008  # it cannot be changed
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Name the service; nothing is sent yet.

        Args:
            url: Its address, as in "http://127.0.0.1:8077".
            api_key: The key, if it asks for one.
            timeout_seconds: Longest time of one try.
            retries: How often a try that failed for a passing reason is repeated.
            transport: httpx transport, for a proxy, other certificates or tests.
        """
        self._retries = retries
        self._http = httpx.Client(**_options(url, api_key, timeout_seconds), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(
        self,
        items: Sequence[ItemFields],
        *,
        limit: int = 10,
        filters: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> RecommendedItems:
        """Keyphrases for items.

        Args:
            items: Titles, or fields of items as the service takes them: title, id, category_path, category_id, site,
                fields, exclude.
            limit: Most keyphrases per item.
            filters: What all keyphrases must pass: match_category, category, site, min_search_volume, where.
            options: What the lists are made of the nearest keyphrases by, as `keydistill.retrieval.ListOptions` has it.

        Raises:
            ServiceError: The service refused the request; the error says why.
            ServiceUnavailableError: It does not answer, or is overloaded, and goes on to be.
        """
        return RecommendedItems.of(self._sent("POST", "/v1/recommend", _recommend_body(items, limit, filters, options)))

    def embed(self, items: Sequence[ItemFields]) -> EmbeddedItems:
        """Vectors of items; raises as `recommend` does."""
        return EmbeddedItems.of(self._sent("POST", "/v1/embed", {"items": _items(items)}))

    def generation(self) -> LiveGeneration:
        """The generation that answers; raises as `recommend` does."""
        return _generation(self._sent("GET", "/v1/generation", None))

    def _sent(self, method: str, path: str, body: Any) -> Any:
        tries = 0
        while True:
            tries += 1
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = self._http.request(method, path, json=body)
                if outcome.status_code == 200:
                    return _content(outcome)
            except httpx.TransportError as error:
                outcome = error
            pause = self._retries.pause(tries, outcome if isinstance(outcome, httpx.Response) else None)
            if pause is None:
                raise failure(str(self._http.base_url.join(path)), outcome)
            time.sleep(pause)


class AsyncClient:
    """`Client` for asyncio; its methods are those of `Client`, awaited."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 10.0,
        retries: Retries = Retries(),  # noqa: B008  # it cannot be changed
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Name the service; the arguments are those of `Client`."""
        self._retries = retries
        self._http = httpx.AsyncClient(**_options(url, api_key, timeout_seconds), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def recommend(
        self,
        items: Sequence[ItemFields],
        *,
        limit: int = 10,
        filters: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> RecommendedItems:
        """See `Client.recommend`."""
        return RecommendedItems.of(
            await self._sent("POST", "/v1/recommend", _recommend_body(items, limit, filters, options))
        )

    async def embed(self, items: Sequence[ItemFields]) -> EmbeddedItems:
        """See `Client.embed`."""
        return EmbeddedItems.of(await self._sent("POST", "/v1/embed", {"items": _items(items)}))

    async def generation(self) -> LiveGeneration:
        """See `Client.generation`."""
        return _generation(await self._sent("GET", "/v1/generation", None))

    async def _sent(self, method: str, path: str, body: Any) -> Any:
        tries = 0
        while True:
            tries += 1
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = await self._http.request(method, path, json=body)
                if outcome.status_code == 200:
                    return _content(outcome)
            except httpx.TransportError as error:
                outcome = error
            pause = self._retries.pause(tries, outcome if isinstance(outcome, httpx.Response) else None)
            if pause is None:
                raise failure(str(self._http.base_url.join(path)), outcome)
            await asyncio.sleep(pause)


def _options(url: str, api_key: str | None, timeout_seconds: float) -> dict[str, Any]:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout_seconds}


def _recommend_body(
    items: Sequence[ItemFields], limit: int, filters: Mapping[str, Any] | None, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    given = {"filters": filters, "options": options}
    return {"items": _items(items), "limit": limit, **{name: dict(value) for name, value in given.items() if value}}


def _items(items: Sequence[ItemFields]) -> list[dict[str, Any]]:
    if isinstance(items, str):
        raise TypeError(f"items is the text {items!r}; expected a list of titles or of items")
    return [{"title": item} if isinstance(item, str) else dict(item) for item in items]


def _content(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise unreadable(error) from None


def _generation(body: Any) -> LiveGeneration:
    try:
        return LiveGeneration(**body["generation"])
    except (KeyError, TypeError) as error:
        raise unreadable(error) from None
