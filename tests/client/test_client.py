"""The client: what it sends, what it makes of answers, and when it tries again."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from keydistill.client import AsyncClient, Client, LiveGeneration, Retries
from keydistill.errors import ServiceError, ServiceUnavailableError

GENERATION = {"collection": "c-1", "student_version": "s-1"}
HIT = {"keyphrase": "red shoes", "score": 0.5, "payload": {"site": "us"}}
RECOMMENDED = {"generation": GENERATION, "results": [{"id": None, "keyphrases": [HIT]}]}
PROBLEM = {"title": "Too many requests wait already", "detail": "128 items\nwait", "status": 429, "request_id": "r1"}

Ask = Callable[[list[Any]], Any]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were made, in no time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


@pytest.fixture(params=["waits", "is awaited"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Asks for one item, where the answers are these, one after the other; the requests are in `ask.requests`."""
    requests: list[httpx.Request] = []

    def call(answers: list[Any], **options: Any) -> Any:
        def handler(sent: httpx.Request) -> httpx.Response:
            requests.append(sent)
            answer = answers[min(len(requests), len(answers)) - 1]
            if isinstance(answer, Exception):
                raise answer
            return httpx.Response(answer[0], json=answer[1], headers=answer[2] if len(answer) > 2 else {})

        transport = httpx.MockTransport(handler)
        if request.param == "waits":
            with Client("http://service:8077", api_key="kd_1", transport=transport, **options) as client:
                return client.recommend(["Red shoes"], limit=3, filters={"site": "us"})

        async def awaited() -> Any:
            async with AsyncClient("http://service:8077", api_key="kd_1", transport=transport, **options) as client:
                return await client.recommend(["Red shoes"], limit=3, filters={"site": "us"})

        return asyncio.run(awaited())

    call.requests = requests  # type: ignore[attr-defined]
    return call


def test_a_request_and_its_answer(ask: Any) -> None:
    answer = ask([(200, RECOMMENDED)])
    assert answer.generation == LiveGeneration("c-1", "s-1")
    assert [(hit.keyphrase, hit.score, hit.payload) for hit in answer.keyphrases[0]] == [tuple(HIT.values())]
    (sent,) = ask.requests
    assert (sent.method, str(sent.url)) == ("POST", "http://service:8077/v1/recommend")
    assert sent.headers["authorization"] == "Bearer kd_1"
    assert json.loads(sent.content) == {"items": [{"title": "Red shoes"}], "limit": 3, "filters": {"site": "us"}}


def test_it_comes_back_not_earlier_than_it_was_told(ask: Any, pauses: list[float]) -> None:
    answers = [(429, PROBLEM, {"Retry-After": "7"}), (503, PROBLEM, {"Retry-After": "2"}), (200, RECOMMENDED)]
    assert ask(answers).generation.collection == "c-1"
    assert 7 <= pauses[0] <= 8
    assert 2 <= pauses[1] <= 3


def test_without_a_word_pauses_double(ask: Any, pauses: list[float]) -> None:
    broken = httpx.ConnectError("refused")
    answers = [broken, (502, {}), broken, (200, RECOMMENDED)]
    assert ask(answers, retries=Retries(pause_seconds=1)).generation.collection == "c-1"
    for pause, mean in zip(pauses, (1, 2, 4), strict=True):
        assert mean / 2 <= pause <= mean * 1.5


def test_it_gives_up_in_one_line(ask: Any, pauses: list[float]) -> None:
    with pytest.raises(ServiceUnavailableError) as gave_up:
        ask([(429, PROBLEM, {"Retry-After": "1"})], retries=Retries(most=2))
    assert len(ask.requests) == 3
    assert str(gave_up.value) == (
        "http://service:8077/v1/recommend answered 429: Too many requests wait already: 128 items\\nwait (request r1)"
    )


def test_a_pause_that_is_too_long_is_not_made(ask: Any, pauses: list[float]) -> None:
    with pytest.raises(ServiceUnavailableError):
        ask([(503, PROBLEM, {"Retry-After": "3600"})])
    assert pauses == []


@pytest.mark.parametrize("status", [400, 401, 413, 422, 500])
def test_what_will_not_pass_is_not_tried_again(ask: Any, pauses: list[float], status: int) -> None:
    with pytest.raises(ServiceError) as refused:
        ask([(status, PROBLEM)])
    assert not isinstance(refused.value, ServiceUnavailableError)
    assert (len(ask.requests), pauses) == (1, [])


@pytest.mark.parametrize("body", [[], {}, {"generation": GENERATION}, {"generation": {}, "results": []}, "text"])
def test_an_answer_of_something_else_is_refused(ask: Any, body: Any) -> None:
    with pytest.raises(ServiceError, match="is this the service's address"):
        ask([(200, body)])


def test_a_service_that_is_not_there(ask: Any) -> None:
    with pytest.raises(ServiceUnavailableError, match="does not answer: refused; is `keydistill serve` running there"):
        ask([httpx.ConnectError("refused")])


def test_a_title_alone_is_no_list() -> None:
    with Client("http://service") as client, pytest.raises(TypeError, match="expected a list"):
        client.recommend("Red shoes")
    assert "kd_" not in repr(client)
