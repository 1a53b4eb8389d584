"""A chat endpoint for tests: OpenAI's API as far as a judge speaks it, with faults to order, over real HTTP.

It runs in a thread of the test, so that its record can be read at any time; whoever asks may be another process.
"""

import asyncio
import json
import math
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Self

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

Json = Any
_QUESTION = re.compile(r"^Listing: (?P<item>\{.*\})\nKeyphrase: (?P<keyphrase>\".*\")$", re.MULTILINE)


def completion(text: str | None, *, yes: float | None = None, **message: Json) -> Json:
    """The body of an answer; with `yes` also log-probabilities of the first token, in several spellings."""
    choice: Json = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    if yes is not None:
        spelled = {"Yes": yes * 0.75, " yes": yes * 0.25, "No": (1 - yes) * 0.5, "no": (1 - yes) * 0.5}
        top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in spelled.items() if p > 0]
        choice["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": top}]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    }


def by_words(title: str, keyphrase: str) -> Json:
    """Says yes exactly if the title has every word of the keyphrase."""
    yes = set(keyphrase.lower().split()) <= set(title.lower().split())
    return completion("Yes" if yes else "No", yes=0.92 if yes else 0.2)


class ChatServer:
    """A running endpoint; `url` is its base address. Leaving the block stops it.

    Attributes:
        answer: (title, keyphrase) -> body of the answer, or a ready response.
        faults: Orders for the next requests, one each, see `_fault`; None lets a request pass.
        always: An order for every request that has none of its own.
        asked: (title, keyphrase) of every request, in the order of arrival.
        bodies: The requests' bodies.
        headers: The requests' headers.
        peak: Most requests that were in flight at once.
        hold: Requests wait until so many are in flight at once; from then on none does.
    """

    def __init__(self, answer: Callable[[str, str], Json] = by_words) -> None:
        self.answer = answer
        self.faults: list[Json] = []
        self.always: Json = None
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = 0
        self.peak = 0
        self.hold = 0
        # Tests set it to let go of the requests that an order "hang" holds.
        self.released = threading.Event()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        config = uvicorn.Config(
            self, log_level="critical", lifespan="off", access_log=False, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)

    @property
    def times(self) -> Counter[tuple[str, str]]:
        """How often each pair was asked about."""
        return Counter(self.asked)

    def order(self, *faults: Json) -> None:
        """Order faults for the next requests."""
        self.faults.extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = json.loads(await request.body())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        found = _QUESTION.search(body["messages"][-1]["content"])
        assert found is not None, body
        title, keyphrase = json.loads(found["item"])["title"], json.loads(found["keyphrase"])
        self.asked.append((title, keyphrase))
        fault = self.faults.pop(0) if self.faults else self.always
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            while self.hold and self.peak < self.hold:
                await asyncio.sleep(0.002)
            # Lets others in that would exceed a limit.
            await asyncio.sleep(0.002)
            if fault == "half":
                await self._half(send, json.dumps(self.answer(title, keyphrase)).encode())
                return
            if fault == "trickle":
                await self._trickle(send)
                return
            if fault == "hang":
                while not self.released.is_set():
                    await asyncio.sleep(0.01)
            answer = _fault(fault) if fault not in (None, "hang") else self.answer(title, keyphrase)
            response = answer if isinstance(answer, Response) else JSONResponse(answer)
            await response(scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _half(self, send: Send, body: bytes) -> None:
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The server closes a connection whose answer is shorter than it said.
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": False})

    async def _trickle(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        # White space before JSON, without end: never silent for long.
        while not self.released.is_set():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.should_exit = True
        self._thread.join(20)
        self._listener.close()


def _fault(order: Json) -> Json:
    """What an order means: a status, maybe with Retry-After and error code, or a body, or one of the names below."""
    if isinstance(order, int):
        order = {"status": order}
    if isinstance(order, dict) and "status" in order:
        headers = {"Retry-After": str(order["retry_after"])} if "retry_after" in order else {}
        message = order.get("message", "a fault that the test ordered")
        error = {"error": {"message": message, "type": "x", "code": order.get("code")}}
        return JSONResponse(error, status_code=order["status"], headers=headers)
    return _BODIES[order] if isinstance(order, str) else order


_BODIES: dict[str, Json] = {
    "bad json": Response('{"choices": [', media_type="application/json"),
    "html": Response("<html>Welcome</html>", media_type="text/html"),
    "no choices": {"id": "x", "object": "chat.completion"},
    "empty choices": {"choices": []},
    "empty text": completion(""),
    "null text": completion(None),
    "refusal": completion(None, refusal="I cannot help with that."),
    "other words": completion("Maybe"),
    "sentence": completion("Because the title says so, yes."),
    "both": completion("yes no"),
    "list": [1, 2, 3],
}
MALFORMED: Iterable[str] = tuple(_BODIES)
