import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response

from keydistill.encoders.judge import ChatJudge, ChatSettings, Judgment, Pair, PromptTemplate, Usage
from keydistill.encoders.judge.answer import Answer, MalformedAnswerError, read_answer
from keydistill.encoders.judge.pace import Pace
from keydistill.encoders.judge.yes_no import answer_in
from keydistill.errors import JudgeError, SettingsError
from tests.support.chat_server import MALFORMED, ChatServer, completion

PAIR = Pair("1", "red shoes", "Red running shoes", "Clothing > Shoes", "US")
PROMPT = PromptTemplate.load()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def judge_of(server: ChatServer, **options: Any) -> ChatJudge:
    settings: dict[str, Any] = {"url": server.url, "model": "m", "backoff_seconds": 0.001, "retries": 3, **options}
    return ChatJudge(ChatSettings(**settings), PROMPT)


def ask(server: ChatServer, *pairs: Pair, **options: Any) -> list[Judgment]:
    return [judgment for _, judgment in judge_of(server, **options).judge_many(pairs or [PAIR])]


def test_a_yes_and_a_no_with_the_probability_of_all_spellings(server: ChatServer) -> None:
    yes, no = ask(server, PAIR, Pair("1", "blue shoes", "Red running shoes"), concurrency=1)
    assert (yes.label, no.label) == (True, False)
    assert yes.probability == pytest.approx(0.92)
    assert no.probability == pytest.approx(0.2)
    assert (yes.usage.input_tokens, yes.usage.output_tokens, yes.malformed) == (100, 1, 0)


def test_the_request_says_what_it_should(server: ChatServer) -> None:
    ask(server, api_key=SecretStr("k-123"))
    (body,), (headers,) = server.bodies, server.headers
    assert body["model"] == "m"
    assert (body["temperature"], body["logprobs"], body["max_tokens"]) == (0, True, 8)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert '"category": ["Clothing", "Shoes"]' in body["messages"][1]["content"]
    assert headers["authorization"] == "Bearer k-123"


def test_request_fields_can_be_added_and_dropped(server: ChatServer) -> None:
    ask(server, request={"max_tokens": None, "max_completion_tokens": 4, "reasoning_effort": "none"})
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_completion_tokens"] == 4
    assert server.bodies[0]["reasoning_effort"] == "none"


def test_the_key_of_another_service_is_not_taken_along(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    ask(server)
    assert "sk-of-somebody-else" not in str(server.headers)


def test_without_log_probabilities_there_is_a_label_and_no_probability(server: ChatServer) -> None:
    server.answer = lambda title, keyphrase: completion("yes")
    (judgment,) = ask(server)
    assert (judgment.label, judgment.probability) == (True, None)


@pytest.mark.parametrize("order", [500, 502, 503, 504, 408, 429, "half"])
def test_what_fails_in_passing_is_asked_again(server: ChatServer, order: Any) -> None:
    server.order(order, order)
    (judgment,) = ask(server)
    assert judgment.label is True
    assert judgment.malformed == 0
    assert len(server.asked) == 3


@pytest.mark.parametrize("order", [500, 429, "half"])
def test_retries_end(server: ChatServer, order: Any) -> None:
    server.always = order
    (judgment,) = ask(server, retries=2)
    assert judgment.label is None
    assert judgment.problem is not None
    assert judgment.problem.kind == "unreachable"
    assert len(server.asked) == 3


@pytest.mark.parametrize("order", ["hang", "trickle"])
def test_an_endpoint_that_hangs_is_given_up_in_time(server: ChatServer, order: Any) -> None:
    server.order(order)
    (judgment,) = ask(server, timeout_seconds=1)
    assert judgment.label is True
    assert len(server.asked) == 2


def test_nobody_listens() -> None:
    with ChatServer() as server:
        gone = server.url
    (judgment,) = [
        judgment
        for _, judgment in ChatJudge(ChatSettings(gone, "m", backoff_seconds=0.001, retries=1), PROMPT).judge_many(
            [PAIR]
        )
    ]
    assert judgment.problem is not None
    assert judgment.problem.kind == "unreachable"
    assert "no connection" in judgment.problem.detail


def test_retry_after_is_waited_for(server: ChatServer) -> None:
    server.order({"status": 429, "retry_after": 1})
    started = time.monotonic()
    (judgment,) = ask(server)
    # At least what the endpoint asked for: not a limit on how fast the machine is.
    assert time.monotonic() - started >= 1
    assert judgment.label is True
    assert len(server.asked) == 2


def test_retry_after_holds_all_requests_back(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.order({"status": 429, "retry_after": 1})
    pairs = [Pair(str(number), "red shoes", f"Red shoes {number}") for number in range(30)]
    moments: list[float] = []

    def answer(title: str, keyphrase: str) -> Any:
        moments.append(time.monotonic())
        return completion("yes")

    monkeypatch.setattr(server, "answer", answer)
    started = time.monotonic()
    assert all(judgment.label for judgment in ask(server, *pairs, concurrency=2))
    # The other one that was in flight, and what went out before the order to wait came in.
    assert sum(moment - started < 1 for moment in moments) <= 5
    assert len(server.asked) == 31


def test_a_pause_that_is_too_long_is_no_pause(server: ChatServer) -> None:
    server.always = {"status": 429, "retry_after": formatdate(time.time() + 9_000, usegmt=True)}
    (judgment,) = ask(server)
    assert judgment.problem is not None
    assert judgment.problem.kind == "unreachable"
    assert "asks to wait" in judgment.problem.detail
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        (401, "judge_api_key"),
        (403, "judge_api_key"),
        (404, "/v1"),
        (405, "see what the endpoint says"),
        ({"status": 429, "code": "insufficient_quota"}, "quota is used up"),
    ],
)
def test_what_will_not_pass_fails_at_once(server: ChatServer, order: Any, hint: str) -> None:
    server.always = order
    with pytest.raises(JudgeError, match=hint) as caught:
        ask(server)
    assert len(str(caught.value).splitlines()) == 1
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_pair_is_not_asked_about_again(server: ChatServer, status: int) -> None:
    server.order(status)
    (judgment,) = ask(server)
    assert judgment.label is None
    assert judgment.problem is not None
    assert judgment.problem.kind == "refused"
    assert f"HTTP {status}" in judgment.problem.detail
    assert len(server.asked) == 1


@pytest.mark.parametrize("order", MALFORMED)
def test_a_malformed_answer_is_counted_and_asked_for_again(server: ChatServer, order: Any) -> None:
    server.order(order)
    (judgment,) = ask(server)
    assert (judgment.label, judgment.malformed) == (True, 1)
    first, second = (body["messages"][1]["content"] for body in server.bodies)
    assert second == f"{first}\n\n{PROMPT.reminder}"


@pytest.mark.parametrize("order", MALFORMED)
def test_malformed_answers_end_without_a_label(server: ChatServer, order: Any) -> None:
    server.always = order
    (judgment,) = ask(server, asks=2)
    assert (judgment.label, judgment.probability, judgment.malformed) == (None, None, 2)
    assert judgment.problem is not None
    assert judgment.problem.kind == "malformed_answer"
    assert len(server.asked) == 2
    assert judgment.usage.input_tokens >= 200


def test_every_pair_comes_out_once_and_no_more_than_allowed_are_in_flight(server: ChatServer) -> None:
    server.hold = 4
    pairs = [Pair(str(number), "red shoes", f"Red shoes {number}") for number in range(40)]
    judgments = dict(judge_of(server, concurrency=4).judge_many(pairs))
    assert set(judgments) == set(pairs)
    assert server.peak == 4
    assert set(server.times.values()) == {1}


def test_pairs_are_taken_only_when_there_is_room(server: ChatServer) -> None:
    taken_numbers: list[int] = []

    def pairs() -> Iterator[Pair]:
        for number in range(20):
            taken_numbers.append(number)
            yield Pair(str(number), "red shoes", f"Red shoes {number}")

    judged = judge_of(server, concurrency=3).judge_many(pairs())
    for judged_count, _ in enumerate(judged, start=1):
        assert len(taken_numbers) <= judged_count + 3
        if judged_count == 5:
            judged.close()
            break
    assert len(taken_numbers) <= 8
    assert len(server.asked) <= len(taken_numbers)


def test_what_was_answered_comes_out_before_a_failure(server: ChatServer) -> None:
    pairs = [Pair(str(number), "red shoes", f"Red shoes {number}") for number in range(3)]
    server.order(None, None, 401)
    judgments: list[tuple[Pair, Judgment]] = []

    def collect() -> None:
        judgments.extend(judge_of(server, concurrency=1).judge_many(pairs))

    with pytest.raises(JudgeError):
        collect()
    assert [(pair.item_id, judgment.label) for pair, judgment in judgments] == [("0", True), ("1", True)]


def test_the_key_stays_secret(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    key = SecretStr("k-very-secret")
    server.always = {"status": 401, "message": "Incorrect API key: k-very-secret"}
    with caplog.at_level(logging.DEBUG), pytest.raises(JudgeError) as caught:
        ask(server, api_key=key)
    judge = judge_of(server, api_key=key)
    settings = ChatSettings(server.url, "m", api_key=key)
    for text in (str(caught.value), repr(caught.value), repr(judge), repr(settings), caplog.text):
        assert "k-very-secret" not in text
    assert "***" in str(caught.value)


def test_inside_an_event_loop_it_says_what_to_do(server: ChatServer) -> None:
    async def call() -> None:
        list(judge_of(server).judge_many([PAIR]))

    with pytest.raises(JudgeError, match=r"asyncio\.to_thread"):
        asyncio.run(call())

    async def call_in_thread() -> list[Judgment]:
        return await asyncio.to_thread(ask, server)

    (judgment,) = asyncio.run(call_in_thread())
    assert judgment.label is True


def test_the_key_of_a_pair_is_what_the_judgment_depends_on(server: ChatServer) -> None:
    judge = judge_of(server)
    same = Pair("other id", PAIR.keyphrase, PAIR.title, PAIR.category, "DE")
    assert judge.key(PAIR) == judge.key(same)
    other_keys = [
        judge.key(Pair("1", "red shoe", PAIR.title, PAIR.category)),
        judge.key(Pair("1", PAIR.keyphrase, "Red running shoe", PAIR.category)),
        judge.key(Pair("1", PAIR.keyphrase, PAIR.title, None)),
        judge_of(server, model="n").key(PAIR),
        judge_of(server, request={"temperature": 1}).key(PAIR),
        ChatJudge(ChatSettings(server.url, "m"), PromptTemplate("seller", "other", "{item}{keyphrase}", "x")).key(PAIR),
    ]
    assert len({judge.key(PAIR), *other_keys}) == 7
    # Where it runs and how fast says nothing about the answer.
    assert judge_of(server, url="http://elsewhere/v1", concurrency=1).key(PAIR) == judge.key(PAIR)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "no http address"),
        ({"url": "http://host:99999/v1"}, "no http address"),
        ({"url": "http://me:pw@host/v1"}, "judge_api_key"),
        ({"api_key": SecretStr("pw\n")}, "judge_api_key"),
        ({"api_key": SecretStr("pwä")}, "judge_api_key"),
        ({"model": " "}, "no model"),
        ({"request": {"messages": []}}, "'messages'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        ChatSettings(**{"url": "http://x/v1", "model": "m", **options})
    assert "pw" not in str(caught.value)


def body(text: str, tokens: list[tuple[str, dict[str, float]]]) -> str:
    content = [
        {
            "token": token,
            "logprob": -0.1,
            "top_logprobs": [{"token": other, "logprob": math.log(p)} for other, p in top.items()],
        }
        for token, top in tokens
    ]
    return json.dumps({"choices": [{"message": {"content": text}, "logprobs": {"content": content}}]})


@pytest.mark.parametrize(
    ("text", "tokens", "label", "probability"),
    [
        # Spellings of one word are summed; other words do not count.
        ("Yes", [("Yes", {"Yes": 0.5, "yes": 0.1, "No": 0.2, "Sure": 0.2})], True, 0.75),
        # What the spellings add up to decides, not the single likeliest token.
        ("Yes", [("Yes", {"Yes": 0.4, "No": 0.3, "no": 0.3})], False, 0.4),
        # White space and quotes before the answer are no answer.
        ("\n Yes", [("\n", {"\n": 1.0}), (" Yes", {" Yes": 0.8, " No": 0.2})], True, 0.8),
        # The first token belongs to something else: no probability.
        ("yes", [("<think>", {"<think>": 0.9, "no": 0.1}), ("yes", {"yes": 1.0})], True, None),
        ("yes", [("no", {"no": 0.9, "yes": 0.1})], True, None),
        # The other word is not listed: unless next to nothing is left for it, the probability is open.
        ("yes", [("yes", {"yes": 0.7})], True, None),
        ("yes", [("yes", {"yes": 0.999})], True, 1.0),
        ("yes", [("yes", {})], True, None),
        ("yes", [], True, None),
    ],
)
def test_probabilities(
    text: str, tokens: list[tuple[str, dict[str, float]]], label: bool | None, probability: float | None
) -> None:
    answer = read_answer(body(text, tokens))
    assert answer.label is label
    assert answer.probability == (None if probability is None else pytest.approx(probability))


def test_nonsense_in_log_probabilities_is_no_probability() -> None:
    text = body("yes", [("yes", {"yes": 0.9, "no": 0.1})])
    assert read_answer(text.replace(str(math.log(0.1)), "NaN")).probability is None
    assert read_answer(text.replace(str(math.log(0.1)), "5.0")).probability is None


@pytest.mark.parametrize(
    "logprobs",
    [
        [],
        "none",
        {"content": [{"token": "yes"}]},
        {"content": [{"token": None, "logprob": None}, {"token": "yes", "top_logprobs": 3}]},
        {"content": [{"token": "yes", "top_logprobs": [None, {"token": None, "logprob": None}]}]},
        {"tokens": ["yes"], "top_logprobs": [{"yes": -0.01}]},
    ],
)
def test_log_probabilities_that_are_none_cost_no_label(logprobs: object) -> None:
    choice = {"message": {"content": "yes"}, "logprobs": logprobs}
    assert read_answer(json.dumps({"choices": [choice]})) == Answer(True, None, None)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ({"prompt_tokens": 50.5, "completion_tokens": 1}, None),
        ({"prompt_tokens": -1, "completion_tokens": -1}, None),
        ({"prompt_tokens": True}, None),
        ("many", None),
        ({"prompt_tokens": 50, "completion_tokens": None}, Usage(50, 0)),
    ],
)
def test_token_counts_cost_no_label(usage: object, read: Usage | None) -> None:
    body = json.dumps({"choices": [{"message": {"content": "no"}}], "usage": usage})
    assert read_answer(body) == Answer(False, None, read)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("<think>\nhmm, no\n</think>\n\nyes", True),
        ("<think></think>No.", False),
        ("It fits, so\n</think>\nyes", True),
        ("<think>yes", None),
        ("<think>yes</thought>no", None),
        ('```json\n{"answer": "yes"}\n```', True),
        ('{"Answer": false, "reason": "it is a lamp"}', False),
        ('{"answer": "maybe"}', None),
        ('{"answer": "yes", "answer": "no"}', None),
        ('{"label": "yes"}', None),
        ("```\nyes\n```", True),
        ("<|channel|>analysis<|message|>no?<|end|><|channel|>final<|message|>yes", True),
        ("Yes, the seller should", True),
        ("**No** - it is a lamp", False),
        ("No. It is a lamp", False),
        ("yes\nbecause it fits", True),
        ("Yes, but then again no", None),
        ("No: yes", None),
        ("Yes and no", None),
        ("yes because it fits", None),
        ("No-brainer", None),
        ("Yesterday, all", None),
        ("Ja", None),
    ],
)
def test_what_counts_as_an_answer(text: str, label: bool | None) -> None:
    assert answer_in(text) is label


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (
            {"content": None, "reasoning_content": "The item fits"},
            "only thoughts: 'The item fits'; turn its thinking off",
        ),
        ({"content": "<think>The item"}, "thoughts without an end: '<think>The item'; turn its thinking off"),
        ({"content": "Maybe"}, "neither yes nor no: 'Maybe'"),
        ({"content": [{"type": "text", "text": "Perhaps"}]}, "neither yes nor no: 'Perhaps'"),
    ],
)
def test_an_answer_that_does_not_count_is_shown(message: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedAnswerError, match=complaint):
        read_answer(json.dumps({"choices": [{"message": message}]}))


def test_parts_and_a_byte_order_mark_are_read() -> None:
    parts = {"choices": [{"message": {"content": [{"type": "text", "text": "yes"}]}}]}
    assert read_answer("\ufeff" + json.dumps(parts)).label is True


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<html>Please log in</html>", "no JSON; check the address, which mostly ends in /v1: '<html>Please log in"),
        ('data: {"choices": []}\n\ndata: [DONE]', "a stream, which was not asked for: 'data:"),
        ('{"choices": []}', "without a message"),
    ],
)
def test_what_is_no_completion_is_shown(body: str, shown: str) -> None:
    with pytest.raises(MalformedAnswerError, match=shown):
        read_answer(body)


def test_at_temperature_0_no_question_is_asked_twice(server: ChatServer) -> None:
    server.always = "other words"
    (judgment,) = ask(server)
    assert judgment.malformed == len(server.bodies) == 2
    assert server.bodies[0] != server.bodies[1]
    ask(server, request={"temperature": 0.7})
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (400, {"error": "plain text of an error"}, "HTTP 400: plain text of an error"),
        (422, {"detail": [{"loc": ["body", "stop"], "msg": "not permitted"}]}, "HTTP 422: body.stop: not permitted"),
        (422, {"detail": "no such thing"}, "HTTP 422: no such thing"),
        (400, {"error": {"message": "top_logprobs must be <= 5"}}, "'{\"top_logprobs\": 5}'"),
        (400, {"error": {"message": "logprobs of 20, of 5 at most"}}, "'{\"top_logprobs\": 5}'"),
        (400, {"detail": "no logprobs here"}, '\'{"logprobs": null, "top_logprobs": null}\''),
        (400, {"error": {"message": "Unsupported parameter: max_tokens"}}, "'{\"max_tokens\": null}'"),
        (413, "<html>Too large, k-very-secret</html>", r"HTTP 413: <html>Too large, \*\*\*</html>"),
        (200, {"error": {"message": "bad field", "code": 400}}, "HTTP 200: bad field"),
    ],
)
def test_what_a_server_said_is_shown(server: ChatServer, status: int, body: Any, shown: str) -> None:
    kind = (Response, "text/html") if isinstance(body, str) else (JSONResponse, "application/json")
    server.answer = lambda title, keyphrase: kind[0](body, status_code=status, media_type=kind[1])
    (judgment,) = ask(server, api_key=SecretStr("k-very-secret"))
    assert judgment.problem is not None
    assert judgment.problem.kind == "refused"
    assert re.search(shown, judgment.problem.detail)


def test_an_overloaded_server_that_says_so_with_status_200_is_asked_again(server: ChatServer) -> None:
    server.order({"error": {"message": "upstream overloaded", "code": 503}})
    (judgment,) = ask(server)
    assert (judgment.label, judgment.malformed) == (True, 0)
    server.order({"error": {"message": "no money", "code": "insufficient_quota"}})
    with pytest.raises(JudgeError, match="quota is used up"):
        ask(server)


def test_secrets_in_the_fields_of_a_request_are_not_shown(server: ChatServer) -> None:
    server.always = {"status": 400, "message": "unknown provider_key s3cr3t-value"}
    (judgment,) = ask(server, request={"provider": {"api_key": "s3cr3t-value"}})
    assert judgment.problem is not None
    assert "s3cr3t" not in judgment.problem.detail


def test_pace_keeps_to_both_limits_and_to_pauses() -> None:
    pace = Pace(requests_per_minute=120, tokens_per_minute=6_000)
    assert pace.reserve(10.0, 10) == 10.0
    assert pace.reserve(10.0, 200) == 10.5
    assert pace.reserve(10.0, 10) == 12.5
    pace.hold(20.0)
    assert pace.reserve(13.0, 10) == 20.0
    assert pace.reserve(13.0, 10) == 20.5
    starts = [pace.reserve(30.0, 50) for _ in range(500)]
    for first in starts:
        assert sum(first <= start < first + 60 for start in starts) <= 120


def test_a_pause_reaches_those_who_wait_already() -> None:
    async def run() -> float:
        pace = Pace(requests_per_minute=600, tokens_per_minute=None)
        clock = asyncio.get_running_loop().time
        await pace.turn(1)
        waiting = asyncio.create_task(pace.turn(1))
        await asyncio.sleep(0)
        until = clock() + 0.3
        pace.hold(until)
        await waiting
        return clock() - until

    assert asyncio.run(run()) >= 0
