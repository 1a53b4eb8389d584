"""A judge behind a chat endpoint that speaks OpenAI's API: vLLM, Ollama, llama.cpp's server, OpenAI and others."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from keydistill.encoders.judge.answer import Answer, ErrorAnswerError, MalformedAnswerError, read_answer, said_in
from keydistill.encoders.judge.chat_settings import ChatSettings
from keydistill.encoders.judge.judgment import Judgment, Pair, Problem, Usage
from keydistill.encoders.judge.pace import Pace
from keydistill.encoders.judge.prompt import Message, PromptTemplate
from keydistill.encoders.judge.refusals import (
    HINTS,
    MOST_ALTERNATIVES,
    refused_fields,
    retry_after_seconds,
    secrets_of,
)
from keydistill.errors import JudgeError
from keydistill.masking import shown_address
from keydistill.telemetry import span

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Fields of a request beside the messages. Deterministic; room for one word; and enough alternatives to hold all
# spellings of yes and no, which is what OpenAI and vLLM allow.
_REQUEST: Mapping[str, Any] = {"temperature": 0, "max_tokens": 8, "logprobs": True, "top_logprobs": MOST_ALTERNATIVES}
# 401, 403 and 404 say that no pair will fare better; these only that this request was bad.
_REFUSED = (400, 413, 422)
# Beyond the first question there is the one with a reminder; a deterministic model gives both one answer each.
_DIFFERENT_QUESTIONS = 2
_TRY_AGAIN = (408, 409, 425, 429)
# No waiting helps against these; OpenAI sends them with status 429.
_FINAL_CODES = ("insufficient_quota", "billing_hard_limit_reached")
_LONGEST_BACKOFF_SECONDS = 30.0
_OUTPUT_TOKENS = 2
_MOST_CHARS = 300
# https://help.openai.com/en/articles/4936856: a token is about 4 characters of English. And each message adds a few.
_CHARS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


class _FailedError(Exception):
    """A request without an answer; `problem` says whether it may get one another time."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class _TemporaryError(_FailedError):
    """A failure that is worth another try, at the earliest after `wait` seconds."""

    def __init__(self, detail: str, wait: float = 0.0) -> None:
        super().__init__(Problem("unreachable", detail))
        self.wait = wait


class ChatJudge:
    """A judge that asks a chat endpoint about each pair; see `Judge`.

    Args:
        settings: Address and limits of the endpoint.
        prompt: Wording of the question.
    """

    def __init__(self, settings: ChatSettings, prompt: PromptTemplate) -> None:
        self._settings = settings
        self._prompt = prompt
        self._request = {**_REQUEST, **settings.request}
        self._identity = json.dumps(["chat", settings.model, prompt.version, settings.request], sort_keys=True)
        self._secrets = secrets_of(settings)
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        deterministic = self._request.get("temperature") == 0
        self._asks = min(settings.asks, _DIFFERENT_QUESTIONS) if deterministic else settings.asks

    def __repr__(self) -> str:
        return f"ChatJudge({self.name!r}, {self.prompt_version!r})"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._settings.model

    @property
    def prompt_version(self) -> str:
        """Version of the prompt's template."""
        return self._prompt.version

    def key(self, pair: Pair) -> bytes:
        """Hash of model, template, request fields, title, category and keyphrase; the item's id does not matter."""
        content = json.dumps([self._identity, pair.title, pair.category, pair.keyphrase])
        return hashlib.sha256(content.encode()).digest()

    def estimate(self, pair: Pair) -> Usage:
        """An estimate of the tokens: a quarter of the characters, four for each message, and two for the answer."""
        messages = self._prompt.messages(pair)
        chars = sum(len(message["content"]) for message in messages)
        return Usage(math.ceil(chars / _CHARS_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(messages), _OUTPUT_TOKENS)

    def judge_many(self, pairs: Iterable[Pair]) -> Generator[tuple[Pair, Judgment], None, None]:
        """Judge pairs, as `Judge.judge_many` says; an event loop of its own runs while the caller waits for a judgment.

        Raises:
            JudgeError: The endpoint refuses the key, the model or the path; or an event loop runs here already.
        """
        if _in_event_loop():
            raise JudgeError("judge_many was called inside a running event loop; call it through asyncio.to_thread")
        with asyncio.Runner() as runner:
            yield from self._drive(runner, iter(pairs))

    def _drive(self, runner: asyncio.Runner, pairs: Iterator[Pair]) -> Generator[tuple[Pair, Judgment], None, None]:
        client = self._client()
        in_flight: set[asyncio.Task[tuple[Pair, Judgment]]] = set()
        more = True
        try:
            while True:
                while more and len(in_flight) < self._settings.concurrency:
                    pair = next(pairs, None)
                    if pair is None:
                        more = False
                    else:
                        in_flight.add(runner.get_loop().create_task(self._judge(client, pair)))
                if not in_flight:
                    return
                done, in_flight = runner.run(_first(in_flight))
                # What was answered is handed on before a failure is raised.
                for task in sorted(done, key=lambda task: task.exception() is not None):
                    yield task.result()
        finally:
            runner.run(_end(client, in_flight))

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, Timeout

        limits = self._settings
        # Its own retries are off: they would neither be counted nor keep to the pace.
        return AsyncOpenAI(
            base_url=limits.url,
            # The client wants one, and would otherwise take that of OPENAI_API_KEY to whatever endpoint this is.
            api_key=limits.api_key.get_secret_value() if limits.api_key else "none",
            max_retries=0,
            timeout=Timeout(limits.timeout_seconds, connect=limits.connect_seconds),
        )

    async def _judge(self, client: AsyncOpenAI, pair: Pair) -> tuple[Pair, Judgment]:
        estimate, usage = self.estimate(pair), Usage()
        problem = None
        for attempt in range(self._asks):
            messages = self._prompt.messages(pair, remind=attempt > 0)
            try:
                answer = await self._answer(client, messages, estimate)
            except MalformedAnswerError as malformed:
                usage += malformed.usage or estimate
                problem = Problem("malformed_answer", self._line(malformed))
            except _FailedError as failed:
                return pair, Judgment(None, usage=usage, malformed=attempt, problem=failed.problem)
            else:
                usage += answer.usage or estimate
                return pair, Judgment(answer.label, answer.probability, usage, malformed=attempt)
        return pair, Judgment(None, usage=usage, malformed=self._asks, problem=problem)

    async def _answer(self, client: AsyncOpenAI, messages: list[Message], estimate: Usage) -> Answer:
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
        from tenacity.wait import wait_random_exponential

        backoff = wait_random_exponential(multiplier=2 * self._settings.backoff_seconds, max=_LONGEST_BACKOFF_SECONDS)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return (error.wait if isinstance(error, _TemporaryError) else 0.0) + backoff(state)

        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(_TemporaryError),
            stop=stop_after_attempt(self._settings.retries + 1),
            wait=wait,
            reraise=True,
        ):
            with attempt:
                await self._pace.turn(estimate.total)
                body = await self._post(client, messages)
                try:
                    return read_answer(body)
                except ErrorAnswerError as error:
                    raise self._failure(200, str(error), error.code, None) from None
        raise AssertionError("tenacity ends with a result or an error")

    async def _post(self, client: AsyncOpenAI, messages: list[Message]) -> str:
        """The body of the endpoint's answer; every failure is one that `_answer` knows what to do with."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        limit = self._settings.timeout_seconds
        try:
            # The client's own limit is one between two bytes, which an endpoint that trickles never reaches.
            with span("ask judge", kind="client", model=self.name):
                async with asyncio.timeout(limit):
                    response = await client.chat.completions.with_raw_response.create(
                        model=self._settings.model,
                        messages=messages,  # type: ignore[arg-type]  # plain dictionaries of the same fields
                        extra_body={name: value for name, value in self._request.items() if value is not None},
                    )
                    return response.text
        except (TimeoutError, APITimeoutError):
            raise _TemporaryError(f"no answer within {limit:g} s") from None
        except APIConnectionError as error:
            place = shown_address(self._settings.url)
            reason = self._line(error.__cause__ or error)
            raise _TemporaryError(f"no connection to {place}, or it broke: {reason}") from None
        except APIStatusError as error:
            said, code = said_in(error.response.text)
            raise self._failure(
                error.status_code, said, error.code or code, error.response.headers.get("retry-after")
            ) from None

    def _failure(self, status: int, said: str, code: object, retry_after: str | None) -> Exception:
        """The error that a failure becomes; some servers send the status of a success, and theirs as the code."""
        text = f"HTTP {status}: {self._line(said) if said.strip() else 'nothing more'}"
        if status == 200 and isinstance(code, int):
            status = code
        if status in _REFUSED:
            return _FailedError(Problem("refused", f"{text}{refused_fields(said, self._request)}"))
        if code in _FINAL_CODES or not (status in _TRY_AGAIN or status >= 500 or status == 200):
            hint = HINTS.get(429 if code in _FINAL_CODES else status, "see what the endpoint says")
            return JudgeError(f"the judge's endpoint {self._settings.url} answered {text}; {hint}")
        wait = retry_after_seconds(retry_after)
        if wait > self._settings.longest_wait_seconds:
            return _FailedError(Problem("unreachable", f"{text}; it asks to wait {wait:,.0f} s"))
        if wait:
            # The others would only be refused too.
            self._pace.hold(asyncio.get_running_loop().time() + wait)
        return _TemporaryError(text, wait)

    def _line(self, text: object) -> str:
        """One line of what somebody else said, without the secrets that it may repeat."""
        line = " ".join((str(text) or type(text).__name__).split())
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line[:_MOST_CHARS]


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _first(
    tasks: set[asyncio.Task[tuple[Pair, Judgment]]],
) -> tuple[set[asyncio.Task[tuple[Pair, Judgment]]], set[asyncio.Task[tuple[Pair, Judgment]]]]:
    return await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _end(client: AsyncOpenAI, tasks: set[asyncio.Task[tuple[Pair, Judgment]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
